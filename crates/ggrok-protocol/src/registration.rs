//! What a registration is made of, at both ends.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderName;

/// Where a client registers for a host: a WebSocket handshake at this path of the relay. The Host of
/// that handshake is the host that the client serves, unless the query names another.
pub const REGISTER_PATH: &str = "/$$ggrok";

/// Where a client registers as a mirror, with its name in the query. An app that embeds the relay may
/// have another path for it.
pub const MIRROR_PATH: &str = "/_ggrok/mirror";

/// The field in which the relay tells a client where its tunnel can be reached: a reference to a
/// host or a path (RFC 3986, section 4.2).
pub const ADDRESS_HEADER: HeaderName = HeaderName::from_static("x-ggrok-address");

/// The field in which a program gives the relay its token, where Authorization is for the app.
pub const TOKEN_HEADER: HeaderName = HeaderName::from_static("x-ggrok-token");

/// The field in which a client that streams tells the relay how many calls it takes at a time, so that the
/// relay can keep some of them for visitors of other addresses.
pub const CALLS_HEADER: HeaderName = HeaderName::from_static("x-ggrok-calls");

/// The name of a mirror: 1 to 63 of `a-z`, `0-9`, `-`, `.` and `_`, as many as a label of a host name
/// may have (RFC 1035, section 2.3.4), and neither `.` nor `..`, which no path of a URL can hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MirrorName(Arc<str>);

/// The text is no name of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a mirror's name is 1 to 63 of a-z, 0-9, \"-\", \".\" and \"_\", and neither \".\" nor \"..\""
)]
pub struct BadMirrorName;

impl MirrorName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MirrorName {
    type Err = BadMirrorName;

    fn from_str(name: &str) -> Result<Self, BadMirrorName> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
        let valid = (1..=63).contains(&name.len()) && name.bytes().all(allowed);
        if valid && !matches!(name, "." | "..") {
            Ok(Self(name.into()))
        } else {
            Err(BadMirrorName)
        }
    }
}

impl fmt::Display for MirrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{BadMirrorName, MirrorName};

    #[test]
    fn takes_names_that_a_path_and_a_host_can_hold() {
        for name in ["a", "local-prometheus_2.x", "...", &"n".repeat(63)] {
            assert_eq!(name.parse::<MirrorName>().unwrap().as_str(), name);
        }
        let long = "n".repeat(64);
        for bad in [
            "", ".", "..", "A", "a/b", "a b", "a%20", "\u{fc}", "a\n", &long,
        ] {
            assert_eq!(bad.parse::<MirrorName>(), Err(BadMirrorName), "{bad:?}");
        }
    }
}
