//! Why the local server gave no response, and what the visitor is told.

use std::fmt;
use std::io;

use ggrok_protocol::Refusal;
use http::StatusCode;

use crate::HostCheck;

/// Why the local server gave no response.
#[derive(Debug)]
pub(crate) enum LocalError {
    /// No connection to its address.
    Unreachable(io::Error),
    /// Its response did not start in time.
    TimedOut,
    /// It closed the connection, or what it sent is no response in the HTTP that it should speak.
    Broken(hyper::Error),
    /// The head of its response is larger than a tunnel carries.
    HeadTooLarge,
    /// What it sent is no HTTP, but a refusal that is known.
    Foreign(hyper::Error, HostCheck),
    /// The request's host or target cannot be said in HTTP/2.
    Target(http::Error),
    /// What it sent can be read as several responses, or answers another request than ours.
    Invalid(&'static str),
}

impl From<hyper::Error> for LocalError {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error)
    }
}

impl LocalError {
    /// What the visitor is told.
    pub(crate) fn refusal(&self) -> Refusal {
        let (status, code, text) = match self {
            Self::Unreachable(error) => (
                StatusCode::BAD_GATEWAY,
                "local-unreachable",
                unreachable(error.kind()),
            ),
            Self::TimedOut => (
                StatusCode::GATEWAY_TIMEOUT,
                "local-timed-out",
                "The app behind the ggrok client did not answer in time.",
            ),
            Self::Broken(_) | Self::Foreign(..) | Self::Invalid(_) => (
                StatusCode::BAD_GATEWAY,
                "local-broken",
                "The app behind the ggrok client closed the connection or sent no valid response.",
            ),
            Self::HeadTooLarge => (
                StatusCode::BAD_GATEWAY,
                "response-head-too-large",
                "The fields of the app's response are larger than this tunnel carries.",
            ),
            Self::Target(_) => (
                StatusCode::BAD_REQUEST,
                "bad-target",
                "The app behind the ggrok client speaks HTTP/2, which cannot say this host or target.",
            ),
        };
        Refusal::new(status, code, text)
    }
}

/// What is known of an app that cannot be connected to. An app on another machine may run.
const fn unreachable(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => {
            "The ggrok client is connected, but the app behind it is not running."
        }
        io::ErrorKind::TimedOut => {
            "The ggrok client is connected, but nothing answers at the address of the app behind it."
        }
        _ => {
            "The ggrok client is connected, but cannot reach the address of the app behind it. The \
             client's own output says why."
        }
    }
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "cannot connect: {error}"),
            Self::TimedOut => f.write_str("no response in time"),
            Self::HeadTooLarge => f.write_str("the fields of its response are over 256 KiB"),
            Self::Foreign(_, HostCheck::Tls) => {
                f.write_str("no valid response: the app speaks TLS")
            }
            Self::Broken(error) | Self::Foreign(error, _) => {
                write!(f, "no valid response: {error}")
            }
            Self::Target(error) => write!(f, "cannot be said in HTTP/2: {error}"),
            Self::Invalid(why) => write!(f, "no valid response: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LocalError;
    use std::io::{Error, ErrorKind};

    #[test]
    fn says_no_more_than_is_known_of_an_app_that_is_not_reached() {
        for (error, says) in [
            (ErrorKind::ConnectionRefused.into(), "is not running."),
            (ErrorKind::TimedOut.into(), "nothing answers at the address"),
            (
                ErrorKind::HostUnreachable.into(),
                "cannot reach the address",
            ),
            // So a look-up fails.
            (
                Error::other("failed to look up"),
                "cannot reach the address",
            ),
        ] {
            let refusal = LocalError::Unreachable(error).refusal();
            assert_eq!(refusal.code, "local-unreachable");
            assert!(refusal.text.contains(says), "{}", refusal.text);
        }
    }
}
