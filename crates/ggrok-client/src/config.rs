//! What a client can be told.

use std::fmt;
use std::time::Duration;

use ggrok_protocol::{Dialect, Limits, Rules};
use rustls::pki_types::CertificateDer;

use crate::{Claim, HostHeader, LocalAddress, RelayAddress, Upstream};

/// The settings of a client.
#[derive(Clone, Debug)]
pub struct Config {
    /// The relay to dial.
    pub relay: RelayAddress,
    /// What the relay is asked to serve.
    pub claim: Claim,
    /// Which visitors the relay lets in. One that does not say that it keeps them all is not served.
    pub rules: Rules,
    /// What requests are replayed against. Nothing that a relay sends changes it.
    pub upstream: Upstream,
    /// Which host the upstream is told.
    pub host_header: HostHeader,
    /// Whether the upstream is spoken to in HTTP/2 with prior knowledge, which gRPC servers want.
    pub local_http2: bool,
    /// What the relay asks of its clients.
    pub token: Option<Token>,
    /// Certificate authorities that are trusted besides the platform's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The one dialect to speak, which must be one of the claim's (see [`Claim::speaks`]); none means
    /// the best that the relay knows.
    pub dialect: Option<Dialect>,
    /// How long the upstream may take for its whole response, in the originals' dialects: less than the
    /// relay's patience, which there ends the tunnel. Otherwise the relay alone decides.
    pub local_timeout: Duration,
    /// How long calls that run may take to finish when the client is asked to stop. The relay gives
    /// them a minute at most. Upgraded connections are closed at once.
    pub grace_period: Duration,
    /// The bounds of the tunnel.
    pub limits: Limits,
}

impl Config {
    /// The default settings, for this relay and this local server.
    #[must_use]
    pub fn new(relay: RelayAddress, local: LocalAddress) -> Self {
        Self::with_upstream(relay, local)
    }

    /// The default settings, for this relay and this local server or service.
    #[must_use]
    pub fn with_upstream(relay: RelayAddress, upstream: impl Into<Upstream>) -> Self {
        Self {
            relay,
            claim: Claim::default(),
            rules: Rules::default(),
            upstream: upstream.into(),
            host_header: HostHeader::default(),
            local_http2: false,
            token: None,
            authorities: Vec::new(),
            dialect: None,
            local_timeout: Duration::from_secs(25),
            grace_period: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

/// A token, hidden wherever settings are shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes a token, without the white space that copying leaves around it; none where it is
    /// empty.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        let token = token.trim();
        (!token.is_empty()).then(|| Self(token.to_owned()))
    }

    /// The token itself, for the one field that carries it and the one file that keeps it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
