//! From an address to a WebSocket: dial, TLS, handshake.

mod dial;
mod handshake;
mod proxy;
mod refusal;

use std::net::SocketAddr;
use std::time::Duration;

use ggrok_protocol::{CALLS_HEADER, Dialect, RULES_HEADER, Rules};
use ggrok_websocket::WebSocket;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use http::{HeaderMap, HeaderValue, Response, Uri};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_util::either::Either;

pub(crate) use self::dial::Dialler;
use self::handshake::Unopened;
use crate::{Config, ConnectError, reached};

/// The connection to a relay, in the clear or encrypted.
pub(crate) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// A client that was let in.
pub(crate) struct Registered {
    pub(crate) socket: WebSocket<Stream>,
    pub(crate) dialect: Dialect,
    /// The address that was dialled: the relay's, or its proxy's.
    pub(crate) peer: Option<SocketAddr>,
    /// Where visitors reach it.
    pub(crate) url: String,
    /// Whether that is where its owner alone does, and visitors were to.
    pub(crate) lacks_visitors: bool,
}

/// Dials one relay, as often as it takes.
pub(crate) struct Connector {
    config: Config,
    /// The field that says the rules, where there are some.
    rules: Option<HeaderValue>,
    dialler: Dialler,
}

impl Connector {
    /// Makes a connector, which needs the same as a [`Dialler`].
    pub(crate) fn new(config: Config) -> Result<Self, ConnectError> {
        if let Some(asked) = config.dialect.filter(|asked| !config.claim.speaks(*asked)) {
            let original = config.claim.original();
            return Err(ConnectError::Dialect { asked, original });
        }
        let rules = Some(&config.rules).filter(|rules| !rules.is_empty());
        Ok(Self {
            rules: rules.map(Rules::to_field).transpose()?,
            dialler: Dialler::new(config.relay.clone(), config.authorities.clone())?,
            config,
        })
    }

    /// Connects and registers. Cancel-safe: what has been opened is closed.
    pub(crate) async fn connect(&self) -> Result<Registered, ConnectError> {
        let registering = timeout(PATIENCE, self.negotiate()).await;
        let Handshake {
            socket,
            answer,
            peer,
        } = registering
            .map_err(|_| ConnectError::TimedOut(self.target().to_owned()))?
            .map_err(|failure| self.meaning(failure))?;
        self.check_receipt(answer.headers())?;
        let chosen = answer.headers().get(SEC_WEBSOCKET_PROTOCOL);
        Ok(Registered {
            socket,
            peer,
            dialect: Dialect::chosen(chosen, self.config.claim.original()),
            url: reached::url(&self.config, answer.headers())?,
            lacks_visitors: reached::lacks_visitors(&self.config.claim, answer.headers()),
        })
    }

    /// Whether there are rules for visitors.
    pub(crate) const fn has_rules(&self) -> bool {
        self.rules.is_some()
    }

    /// Whether the relay keeps the rules. Where it says nothing of them, the socket is closed before a
    /// call is read from it.
    fn check_receipt(&self, answer: &HeaderMap) -> Result<(), ConnectError> {
        let receipt = self.rules.as_ref().map(Rules::receipt);
        match receipt {
            Some(receipt) if answer.get(RULES_HEADER) != Some(&receipt) => {
                Err(ConnectError::RulesNotKept)
            }
            _ => Ok(()),
        }
    }

    /// Registers by offering our own dialect, and without an offer where that is passed over.
    async fn negotiate(&self) -> Result<Handshake, Failure> {
        let offer = self.config.dialect.unwrap_or(Dialect::V2);
        match self.register(offer).await {
            Err(failure) if self.config.dialect.is_none() && failure.is_offer_passed_over() => {
                self.register(self.config.claim.original()).await
            }
            registered => registered,
        }
    }

    /// What is dialled, as a person should read it.
    pub(crate) fn target(&self) -> &str {
        self.dialler.target()
    }

    fn meaning(&self, failure: Failure) -> ConnectError {
        match failure {
            Failure::Before(error) => error,
            Failure::Handshake(Unopened::Answer(answer)) => {
                refusal::meaning(&self.config.claim, &self.config.relay, &answer)
            }
            Failure::Handshake(Unopened::Lost(error)) => self.dialler.lost(&error),
            Failure::Handshake(Unopened::NotHttp(said)) => {
                ConnectError::NoRelay(refusal::not_http(&self.config.relay, &said))
            }
            Failure::Handshake(Unopened::PassedOver(text) | Unopened::Wrong(text)) => {
                ConnectError::NoRelay(text)
            }
        }
    }

    async fn register(&self, offer: Dialect) -> Result<Handshake, Failure> {
        let stream = self.dialler.open().await?;
        let tcp = match &stream {
            Either::Left(tcp) => tcp,
            Either::Right(tls) => tls.get_ref().0,
        };
        let peer = tcp.peer_addr().ok();
        let longest = self.config.limits.request_message(offer);
        let request = self
            .request(offer)
            .map_err(|error| self.dialler.lost(&error))?;
        let (socket, answer) = handshake::open(request, stream, longest).await?;
        Ok(Handshake {
            socket,
            answer,
            peer,
        })
    }

    fn request(&self, offer: Dialect) -> Result<ClientRequestBuilder, http::Error> {
        let relay = &self.config.relay;
        let uri = Uri::builder()
            .scheme(if relay.is_secure() { "wss" } else { "ws" })
            .authority(relay.authority())
            .path_and_query(self.config.claim.target())
            .build()?;
        let mut request = ClientRequestBuilder::new(uri).with_header(USER_AGENT.as_str(), AGENT);
        if let Some(name) = offer.subprotocol() {
            let calls = self.config.limits.calls.to_string();
            request = request.with_sub_protocol(name);
            request = request.with_header(CALLS_HEADER.as_str(), calls);
        }
        if let Some(token) = &self.config.token {
            let bearer = format!("Bearer {}", token.reveal());
            request = request.with_header(AUTHORIZATION.as_str(), bearer);
        }
        if let Some(rules) = self.rules.as_ref().and_then(|rules| rules.to_str().ok()) {
            request = request.with_header(RULES_HEADER.as_str(), rules);
        }
        Ok(request)
    }
}

/// A WebSocket, the answer that opened it, and the address that was dialled for it.
struct Handshake {
    socket: WebSocket<Stream>,
    answer: Response<Option<Vec<u8>>>,
    peer: Option<SocketAddr>,
}

/// What went wrong before the handshake, or in it.
enum Failure {
    Before(ConnectError),
    Handshake(Unopened),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Before(error)
    }
}

impl From<Unopened> for Failure {
    fn from(error: Unopened) -> Self {
        Self::Handshake(error)
    }
}

impl Failure {
    /// The originals' servers know no subprotocols, and the WebSocket library ends a handshake whose
    /// offer was passed over.
    const fn is_offer_passed_over(&self) -> bool {
        matches!(self, Self::Handshake(Unopened::PassedOver(_)))
    }
}

pub(crate) const AGENT: &str = concat!("ggrok-client/", env!("CARGO_PKG_VERSION"));

/// How long connecting may take, from the look-up of the name to the end of the handshake.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
