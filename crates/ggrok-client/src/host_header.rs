//! Which host the local server is told in the requests that it gets.

use std::net::Ipv6Addr;
use std::str::FromStr;

use http::uri::Authority;

use crate::address::split;

/// Which host the local server is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// The public one, as the visitor sent it. Nothing is rewritten.
    #[default]
    Preserve,
    /// Its own address, which no check of its refuses; a service inside the program is told
    /// `localhost`.
    Rewrite,
    /// The one that the app knows itself by.
    Fixed(AppHost),
}

/// The host that an app knows itself by, with or without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppHost(Authority);

/// What was given is neither a word that is known nor a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give preserve, rewrite, or a host alone, like app.test or localhost:3000")]
pub struct BadHostHeader;

impl AppHost {
    /// The host as a Host field has it.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Reads `preserve`, `rewrite`, or else the host itself.
impl FromStr for HostHeader {
    type Err = BadHostHeader;

    fn from_str(typed: &str) -> Result<Self, BadHostHeader> {
        match typed.trim().to_ascii_lowercase().as_str() {
            "preserve" => Ok(Self::Preserve),
            "rewrite" => Ok(Self::Rewrite),
            _ => typed.parse().map(Self::Fixed),
        }
    }
}

/// Reads `app.test` or `localhost:3000`.
impl FromStr for AppHost {
    type Err = BadHostHeader;

    fn from_str(typed: &str) -> Result<Self, BadHostHeader> {
        match split(typed) {
            Ok((None, authority)) if is_host(authority.host()) => Ok(Self(authority)),
            _ => Err(BadHostHeader),
        }
    }
}

fn is_host(host: &str) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        let address = bracketed.strip_suffix(']').unwrap_or_default();
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    host.chars().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::{BadHostHeader, HostHeader};

    #[test]
    fn takes_a_word_or_a_host() {
        for (typed, read) in [
            ("preserve", HostHeader::Preserve),
            ("rewrite", HostHeader::Rewrite),
            (" Rewrite ", HostHeader::Rewrite),
        ] {
            assert_eq!(typed.parse(), Ok(read), "{typed}");
        }
        for host in [
            "app.test",
            "App.Test:8080",
            "localhost",
            "127.0.0.1:80",
            "[::1]:3000",
            "my_app",
        ] {
            let Ok(HostHeader::Fixed(read)) = host.parse() else {
                panic!("{host} was not taken");
            };
            assert_eq!(read.as_str(), host);
        }
    }

    #[test]
    fn refuses_what_is_no_host_alone() {
        for typed in [
            "",
            " ",
            "http://app.test",
            "app.test/path",
            "user@app.test",
            "app.test:",
            "app.test:0",
            "app.test:99999",
            "app.test:x",
            ":3000",
            "a b",
            "a,b",
            "*",
            "[::1",
            "[x]",
            "::1",
            "\u{fc}.test",
            "app.test\r\nX: y",
        ] {
            assert_eq!(typed.parse::<HostHeader>(), Err(BadHostHeader), "{typed:?}");
        }
    }
}
