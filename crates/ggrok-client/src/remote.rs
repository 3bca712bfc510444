//! The address that a magic-mirror client is given: a server, and the path where it takes mirrors.

use std::fmt;
use std::str::FromStr;

use http::uri::PathAndQuery;

use crate::{AddressError, Mirror, MirrorName, RelayAddress};

/// A server, and the path where it takes mirrors.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    /// The server.
    pub relay: RelayAddress,
    path: PathAndQuery,
}

impl RemoteAddress {
    /// A mirror there, for the API alone. The query of the address is kept.
    #[must_use]
    pub fn mirror(&self, name: MirrorName) -> Mirror {
        Mirror::at(self.path.clone(), name)
    }
}

/// Without the query, which may hold a secret.
impl fmt::Debug for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteAddress")
            .field("relay", &self.relay)
            .field("path", &self.path.path())
            .finish_non_exhaustive()
    }
}

/// Reads `wss://mirror.example.com/mirror`. Schemes are those of a [`RelayAddress`]; without a path
/// it is `/`.
impl FromStr for RemoteAddress {
    type Err = AddressError;

    fn from_str(typed: &str) -> Result<Self, AddressError> {
        let typed = typed.trim();
        // HTTP has no word for a fragment, and the URI crate would drop it.
        if typed.contains('#') {
            return Err(AddressError::Remote);
        }
        let start = typed.find("://").map_or(0, |colon| colon + 3);
        let end = typed[start..].find(['/', '?']);
        let (relay, target) = typed.split_at(end.map_or(typed.len(), |end| start + end));
        let relay = relay.parse().map_err(|error| match error {
            AddressError::MoreThanHost => AddressError::Remote,
            error => error,
        })?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        let path = format!("{slash}{target}").parse();
        Ok(Self {
            relay,
            path: path.map_err(|_| AddressError::Remote)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::RemoteAddress;
    use crate::{AddressError, Claim};

    fn remote(typed: &str) -> Result<(String, String), AddressError> {
        let remote: RemoteAddress = typed.parse()?;
        let claim = Claim::Mirror(remote.mirror("blog".parse().unwrap()));
        Ok((remote.relay.to_string(), claim.target()))
    }

    #[test]
    fn keeps_path_and_query_and_appends_the_name() {
        for (typed, relay, target) in [
            (
                "wss://a.example/mirror",
                "wss://a.example",
                "/mirror?name=blog",
            ),
            (
                "ws://a.example:81/m/?t=1",
                "ws://a.example:81",
                "/m/?t=1&name=blog",
            ),
            ("https://a.example", "wss://a.example", "/?name=blog"),
            ("http://a.example?t=1", "ws://a.example", "/?t=1&name=blog"),
            ("a.example/mirror", "wss://a.example", "/mirror?name=blog"),
            (
                "localhost:80/mirror",
                "ws://localhost:80",
                "/mirror?name=blog",
            ),
        ] {
            let expected = (relay.to_owned(), target.to_owned());
            assert_eq!(remote(typed), Ok(expected), "{typed}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_address() {
        use AddressError as E;
        for (typed, error) in [
            ("ftp://a.example/mirror", E::RelayScheme),
            ("wss://user:key@a.example/mirror", E::Remote),
            ("wss://a.example/mirror#top", E::Remote),
            ("wss://a.example/a b", E::Remote),
            ("wss://a.example:0/mirror", E::Port),
            ("wss:///mirror", E::Invalid),
            ("", E::Invalid),
        ] {
            assert_eq!(remote(typed), Err(error), "{typed}");
        }
    }

    #[test]
    fn hides_the_query_in_debug() {
        let remote: RemoteAddress = "wss://a.example/mirror?key=s3cret".parse().unwrap();
        let mirror = remote.mirror("blog".parse().unwrap());
        for shown in [
            format!("{remote:?}"),
            format!("{:?}", Claim::Mirror(mirror)),
        ] {
            assert!(
                shown.contains("/mirror") && !shown.contains("s3cret"),
                "{shown}"
            );
        }
    }
}
