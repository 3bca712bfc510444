//! Why there is no tunnel, and whether it is worth trying again.

use ggrok_protocol::{BadRules, Dialect};
use http::StatusCode;

use crate::HostName;

/// Why a client gave up.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The relay cannot be used, and trying again would change nothing.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another client took over the host or name; fighting back would help neither.
    #[error(
        "another client has taken over this address; this one ends (to run both, start one of them \
         with --name or --host)"
    )]
    Replaced,
    /// The owner of the address closed the tunnel at the relay.
    #[error("the owner of this address has closed it at the relay")]
    Removed,
}

/// Why the relay could not be connected to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No connection, or it broke during the handshake.
    #[error("cannot reach the relay at {0}")]
    Unreachable(String),
    /// No handshake in time, at this address.
    #[error(
        "no answer from the relay at {0} within 10 s (check host and port, and whether a firewall lets \
         them through)"
    )]
    TimedOut(String),
    /// The proxy of the environment does not connect this client with the relay.
    #[error("{0}")]
    ProxyRefused(String),
    /// The proxy of the environment is of a kind that is not spoken.
    #[error("{0} is neither http:// nor socks5://, which are supported")]
    Proxy(String),
    /// The relay's certificate is not trusted.
    #[error(
        "the relay's certificate is refused: {0} (trust a private authority with --ca-cert FILE)"
    )]
    Certificate(rustls::Error),
    /// The trusted certificates cannot be used.
    #[error("no certificates to trust: {0} (install the system's, or use --ca-cert FILE)")]
    Roots(rustls::Error),
    /// The other side does not speak TLS.
    #[error(
        "the server at {0} does not speak TLS (if the relay there has none, give its address with ws://)"
    )]
    NotTls(String),
    /// The relay does not let this client in.
    #[error("the relay refuses this client: {0}")]
    Refused(String),
    /// What answers does not let this client in, and does not say that it is a relay of ours: it may be
    /// an original's, or something on the way.
    #[error("the relay, or something on the way to it, refuses this client: {0}")]
    TurnedAway(String),
    /// A relay answers, and does not take what it was sent for a registration: something on the way
    /// changed it, or it went to another path.
    #[error("a ggrok relay answers, but this registers no client there: {0}")]
    NotRegistered(String),
    /// The relay cannot let this client in at the moment.
    #[error("the relay is not available: {reason}")]
    Unavailable {
        /// Its answer's status.
        status: StatusCode,
        /// The status, and its own words.
        reason: String,
    },
    /// The relay lets this client in, but not for this host.
    #[error("this relay serves its own host alone: it knows nothing of {0}")]
    OwnHostAlone(HostName),
    /// The relay lets this client in, but not visitors as the rules say: it is an old one, or another.
    #[error(
        "this relay does not keep rules for visitors (a newer ggrok-server does): nothing is shown, \
         rather than everything to everybody"
    )]
    RulesNotKept,
    /// The rules cannot be said to a relay.
    #[error("the rules for visitors cannot be kept: {0}")]
    Rules(#[from] BadRules),
    /// What is asked for is not served in the one dialect that is to be spoken.
    #[error("{asked} is not spoken for what is asked for: use {original}, ggrok.v2 or none")]
    Dialect {
        /// The one that is to be spoken.
        asked: Dialect,
        /// The one that could be.
        original: Dialect,
    },
    /// What answers is no relay.
    #[error("there is no ggrok relay at this address: {0}")]
    NoRelay(String),
}

impl ConnectError {
    /// Whether trying again is pointless. What does not speak for the relay may be a platform's page
    /// while the relay restarts, or that of a network which wants a login first; so that counts only for
    /// a client that never `met` the relay.
    #[must_use]
    pub const fn is_final(&self, met: bool) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) | Self::Unavailable { .. } => false,
            // A relay that answers may be another one, through whose tunnel this one is reached.
            Self::Certificate(_)
            | Self::NotTls(_)
            | Self::ProxyRefused(_)
            | Self::TurnedAway(_)
            | Self::NotRegistered(_)
            | Self::NoRelay(_) => !met,
            Self::Proxy(_)
            | Self::Roots(_)
            | Self::Refused(_)
            | Self::OwnHostAlone(_)
            | Self::RulesNotKept
            | Self::Rules(_)
            | Self::Dialect { .. } => true,
        }
    }
}
