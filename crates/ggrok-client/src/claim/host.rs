//! The name of a host that a client can claim.

use std::fmt;
use std::str::FromStr;

/// The name of a host, in lower case, without port and trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

/// The text is no name of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give the name of a host alone, like app.example.com, without a scheme or a port")]
pub struct BadHostName;

impl FromStr for HostName {
    type Err = BadHostName;

    fn from_str(typed: &str) -> Result<Self, BadHostName> {
        let lower = typed.trim().to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        if !((1..=HOST_NAME).contains(&name.len()) && name.chars().all(is_name)) {
            return Err(BadHostName);
        }
        Ok(Self(name.to_owned()))
    }
}

const fn is_name(letter: char) -> bool {
    matches!(letter, 'a'..='z' | '0'..='9' | '-' | '.' | '_')
}

/// The longest host name, written out (RFC 1035, section 2.3.4).
const HOST_NAME: usize = 253;

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{BadHostName, HostName};

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
            assert_eq!(typed.parse::<HostName>(), Err(BadHostName), "{typed}");
        }
    }
}
