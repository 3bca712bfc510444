//! Why the local server gave no response, and what the visitor is told.

use std::fmt;
use std::io;

use ggrok_protocol::Refusal;
use http::StatusCode;

/// Why the local server gave no response.
#[derive(Debug)]
pub(crate) enum LocalError {
    /// Nothing accepts connections at its address.
    Unreachable(io::Error),
    /// Its response did not start in time.
    TimedOut,
    /// It closed the connection, or what it sent is no response in the HTTP that it should speak.
    Broken(hyper::Error),
    /// The request's host or target cannot be said in HTTP/2.
    Target(http::Error),
    /// What it sent can be read as several responses, or answers another request than ours.
    Invalid(&'static str),
}

impl LocalError {
    /// What the visitor is told.
    pub(crate) const fn refusal(&self) -> Refusal {
        let (status, code, text) = match self {
            Self::Unreachable(_) => (
                StatusCode::BAD_GATEWAY,
                "local-unreachable",
                "The ggrok client is connected, but the app behind it is not running.",
            ),
            Self::TimedOut => (
                StatusCode::GATEWAY_TIMEOUT,
                "local-timed-out",
                "The app behind the ggrok client did not answer in time.",
            ),
            Self::Broken(_) | Self::Invalid(_) => (
                StatusCode::BAD_GATEWAY,
                "local-broken",
                "The app behind the ggrok client closed the connection or sent no valid response.",
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

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "cannot connect: {error}"),
            Self::TimedOut => f.write_str("no response in time"),
            Self::Broken(error) => write!(f, "no valid response: {error}"),
            Self::Target(error) => write!(f, "cannot be said in HTTP/2: {error}"),
            Self::Invalid(why) => write!(f, "no valid response: {why}"),
        }
    }
}
