//! Whose a tunnel is.

use std::fmt;
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

#[cfg(test)]
mod tests {
    use super::Owner;

    #[test]
    fn shows_an_owner_on_one_line() {
        assert_eq!(Owner::new("ana\n2").to_string(), "ana\\n2");
        assert_eq!(
            Owner::new("auth0|ana@example.com").to_string(),
            "auth0|ana@example.com"
        );
    }
}
