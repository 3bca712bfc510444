//! The names that a client can claim, of hosts or of its own choice.

use std::fmt;
use std::str::FromStr;

/// The name of a mirror: 1 to 63 of `a-z`, `0-9`, `-`, `.` and `_`, and neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorName(String);

/// The name of a host, in lower case, without port and trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is no name of a mirror.
    #[error(
        "a mirror's name is 1 to 63 of a-z, 0-9, \"-\", \".\" and \"_\", and neither \".\" nor \"..\""
    )]
    Mirror,
    /// It is no name of a host.
    #[error("give the name of a host alone, like app.example.com, without a scheme or a port")]
    Host,
}

impl FromStr for MirrorName {
    type Err = NameError;

    fn from_str(typed: &str) -> Result<Self, NameError> {
        let fits = (1..=MIRROR_NAME).contains(&typed.len()) && typed.chars().all(is_name);
        if !fits || matches!(typed, "." | "..") {
            return Err(NameError::Mirror);
        }
        Ok(Self(typed.to_owned()))
    }
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(typed: &str) -> Result<Self, NameError> {
        let lower = typed.trim().to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        if !((1..=HOST_NAME).contains(&name.len()) && name.chars().all(is_name)) {
            return Err(NameError::Host);
        }
        Ok(Self(name.to_owned()))
    }
}

const fn is_name(letter: char) -> bool {
    matches!(letter, 'a'..='z' | '0'..='9' | '-' | '.' | '_')
}

/// The longest label of a host name (RFC 1035, section 2.3.4), which a mirror's name may become.
const MIRROR_NAME: usize = 63;

/// The longest host name, written out (RFC 1035, section 2.3.4).
const HOST_NAME: usize = 253;

impl fmt::Display for MirrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{HostName, MirrorName, NameError};

    #[test]
    fn takes_names_that_need_no_escape_in_a_path() {
        for name in ["a", "blog", "local-prometheus_2", "v1.2", "...", "-"] {
            assert_eq!(name.parse::<MirrorName>().unwrap().to_string(), name);
        }
        let long = "a".repeat(64);
        for name in [
            "", ".", "..", "a/b", "a b", "Blog", "ü", "a&b", "a%2F", &long,
        ] {
            assert_eq!(name.parse::<MirrorName>(), Err(NameError::Mirror), "{name}");
        }
    }

    #[test]
    fn takes_the_name_of_a_host_alone() {
        for (typed, name) in [
            ("app.example.com", "app.example.com"),
            (" App.Example.com. ", "app.example.com"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(typed.parse::<HostName>().unwrap().to_string(), name);
        }
        for typed in [
            "",
            ".",
            "a.example:80",
            "https://a.example",
            "a.example/",
            "a b",
            "ü.example",
        ] {
            assert_eq!(typed.parse::<HostName>(), Err(NameError::Host), "{typed}");
        }
    }
}
