//! What a client asks its relay to serve.

mod host;

use std::fmt;

use ggrok_protocol::{Dialect, MIRROR_PATH, MirrorName, REGISTER_PATH};
use http::uri::PathAndQuery;

pub use self::host::{BadHostName, HostName};

/// What a client asks its relay to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Claim {
    /// The relay's own host: the one in the relay's address.
    #[default]
    Host,
    /// Another host that points at the relay.
    OtherHost(HostName),
    /// A name of its own.
    Mirror(Mirror),
}

/// A name under which a client is found, at a relay of ours or at magic-mirror's own server.
#[derive(Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The name.
    pub name: MirrorName,
    /// Whether visitors find the mirror by a host of its own too, and not the callers of the
    /// relay's API alone.
    pub public: bool,
    /// Where the relay takes mirrors.
    path: PathAndQuery,
}

impl Claim {
    /// What is spoken where the relay does not know `ggrok.v2`.
    #[must_use]
    pub const fn original(&self) -> Dialect {
        match self {
            Self::Host | Self::OtherHost(_) => Dialect::Ggrok,
            Self::Mirror(_) => Dialect::MagicMirror,
        }
    }

    /// Whether this can be served in a dialect.
    #[must_use]
    pub fn speaks(&self, dialect: Dialect) -> bool {
        dialect.subprotocol().is_some() || dialect == self.original()
    }

    /// Path and query of the handshake that asks for it.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Host => REGISTER_PATH.to_owned(),
            Self::OtherHost(host) => format!("{REGISTER_PATH}?host={host}"),
            Self::Mirror(mirror) => mirror.target(),
        }
    }
}

impl Mirror {
    /// A mirror at a relay of ours that visitors find by a host of its own.
    #[must_use]
    pub const fn new(name: MirrorName) -> Self {
        Self {
            name,
            public: true,
            path: PathAndQuery::from_static(MIRROR_PATH),
        }
    }

    /// A mirror for the API of a server that takes mirrors at this path.
    pub(crate) const fn at(path: PathAndQuery, name: MirrorName) -> Self {
        Self {
            name,
            public: false,
            path,
        }
    }

    /// Where it registers.
    pub(crate) fn path(&self) -> &str {
        self.path.path()
    }

    /// The path and the name, without anything else that the query may hold.
    pub(crate) fn shown(&self) -> String {
        format!("{}?name={}", self.path.path(), self.name)
    }

    fn target(&self) -> String {
        let (path, name) = (&self.path, &self.name);
        let joint = if path.query().is_some() { '&' } else { '?' };
        let public = if self.public { "&public=true" } else { "" };
        format!("{path}{joint}name={name}{public}")
    }
}

/// Without the query, which may hold a secret.
impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("name", &self.name)
            .field("public", &self.public)
            .field("path", &self.path.path())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, Mirror};
    use ggrok_protocol::Dialect;

    fn mirror() -> Mirror {
        Mirror::new("blog".parse().unwrap())
    }

    #[test]
    fn says_in_the_handshake_what_it_asks_for() {
        let other = Claim::OtherHost("App.Example.com.".parse().unwrap());
        let path = "/mirror?team=a".parse().unwrap();
        let theirs = Mirror::at(path, "blog".parse().unwrap());
        for (claim, target) in [
            (Claim::Host, "/$$ggrok"),
            (other, "/$$ggrok?host=app.example.com"),
            (
                Claim::Mirror(mirror()),
                "/_ggrok/mirror?name=blog&public=true",
            ),
            (Claim::Mirror(theirs), "/mirror?team=a&name=blog"),
        ] {
            assert_eq!(claim.target(), target);
        }
    }

    #[test]
    fn is_served_in_our_dialect_and_in_the_one_of_its_original() {
        let (host, mirror) = (Claim::Host, Claim::Mirror(mirror()));
        assert!(host.speaks(Dialect::V2) && mirror.speaks(Dialect::V2));
        assert!(host.speaks(Dialect::Ggrok) && !mirror.speaks(Dialect::Ggrok));
        assert!(mirror.speaks(Dialect::MagicMirror) && !host.speaks(Dialect::MagicMirror));
    }
}
