//! The words by which people name things at a relay: an owner and a mirror.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Whose a tunnel is: a user of the relay, or of the app that embeds it. Any text will do, a user's
/// name as well as an identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(Arc<str>);

impl Owner {
    /// Names an owner.
    #[must_use]
    pub fn new(owner: &str) -> Self {
        Self(owner.into())
    }

    /// The owner as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The owner of everything where a relay has one token, or none.
impl Default for Owner {
    fn default() -> Self {
        Self::new("default")
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An identifier from elsewhere may hold what a log should not.
        write!(f, "{}", self.0.escape_debug())
    }
}

/// The name of a mirror: 1 to 63 of `a-z`, `0-9`, `-`, `.` and `_`, and neither `.` nor `..`, which no
/// URL path can hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The text is no name of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 63 of a-z, 0-9, '-', '.' and '_'")]
pub struct BadName;

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(name: &str) -> Result<Self, BadName> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
        let valid = (1..=63).contains(&name.len()) && name.bytes().all(allowed);
        if valid && !matches!(name, "." | "..") {
            Ok(Self(name.into()))
        } else {
            Err(BadName)
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{BadName, Name, Owner};

    #[test]
    fn takes_names_that_a_url_can_hold() {
        for name in ["a", "localprometheus", "my-app_2.x", &"n".repeat(63)] {
            assert_eq!(name.parse::<Name>().unwrap().as_str(), name);
        }
        let long = "n".repeat(64);
        for bad in [
            "", ".", "..", "A", "a/b", "a b", "a%20", "\u{fc}", "a\n", &long,
        ] {
            assert_eq!(bad.parse::<Name>(), Err(BadName), "{bad:?}");
        }
    }

    #[test]
    fn shows_an_owner_on_one_line() {
        assert_eq!(Owner::new("ana\n2").to_string(), "ana\\n2");
        assert_eq!(
            Owner::new("auth0|ana@example.com").to_string(),
            "auth0|ana@example.com"
        );
    }
}
