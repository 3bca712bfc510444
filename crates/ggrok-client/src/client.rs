//! A program that publishes itself, said step by step.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::pending;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ggrok_protocol::{Dialect, Limits, Rules};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use rustls::pki_types::CertificateDer;
use tower_service::Service;

use crate::{
    AddressError, BadHostName, BadMirrorName, Claim, Config, Event, HostHeader, LocalAddress,
    LocalService, Mirror, RelayAddress, RunError, Token, Upstream, run,
};

/// A client that is described step by step, and then runs: [`serve`](Self::serve) publishes a
/// service of this program, [`forward`](Self::forward) a local server.
///
/// ```no_run
/// # async fn publish() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use ggrok_client::Client;
///
/// let router = Router::new().route("/", get(async || "hello"));
/// Client::builder()
///     .relay("relay.example.com")?
///     .token("what the relay asks of its clients")
///     .name("blog")?
///     .serve(router)
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a client runs by `serve` or `forward`"]
pub struct Client {
    relay: RelayAddress,
    claim: Claim,
    public: Option<bool>,
    rules: Rules,
    host_header: HostHeader,
    token: Option<Token>,
    local_http2: bool,
    authorities: Vec<CertificateDer<'static>>,
    dialect: Option<Dialect>,
    grace_period: Option<Duration>,
    limits: Limits,
    observer: Box<dyn Fn(Event) + Send + Sync>,
    shutdown: BoxFuture<'static, ()>,
}

/// A client that does not know its relay yet.
#[derive(Debug)]
#[must_use = "a client needs a relay"]
pub struct Builder(());

impl Builder {
    /// Names the relay, like `relay.example.com`.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub fn relay(self, address: &str) -> Result<Client, AddressError> {
        Ok(Client::new(address.parse()?))
    }
}

impl Client {
    /// Starts the description of a client.
    pub const fn builder() -> Builder {
        Builder(())
    }

    /// A client of this relay that asks for its host, until it is told otherwise.
    pub fn new(relay: RelayAddress) -> Self {
        Self {
            relay,
            claim: Claim::default(),
            public: None,
            rules: Rules::default(),
            host_header: HostHeader::default(),
            token: None,
            local_http2: false,
            authorities: Vec::new(),
            dialect: None,
            grace_period: None,
            limits: Limits::default(),
            observer: Box::new(drop),
            shutdown: Box::pin(pending()),
        }
    }

    /// What the relay asks of its clients; an empty token is none.
    pub fn token(mut self, token: &str) -> Self {
        self.token = Token::new(token);
        self
    }

    /// Asks for a name of its own at the relay, in place of the relay's host.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn name(self, name: &str) -> Result<Self, BadMirrorName> {
        let mirror = Mirror::new(name.parse()?);
        Ok(self.claim(Claim::Mirror(mirror)))
    }

    /// Asks for another host that points at the relay.
    ///
    /// # Errors
    /// What is wrong with the host.
    pub fn host(self, host: &str) -> Result<Self, BadHostName> {
        let claim = Claim::OtherHost(host.parse()?);
        Ok(self.claim(claim))
    }

    /// Asks for anything that a relay serves.
    pub fn claim(mut self, claim: Claim) -> Self {
        self.claim = claim;
        self
    }

    /// Whether visitors find a [`name`](Self::name) by a host of its own too, which they do unless
    /// this says otherwise, and not the callers of the relay's API alone.
    pub const fn public(mut self, public: bool) -> Self {
        self.public = Some(public);
        self
    }

    /// Which visitors the relay lets in:
    ///
    /// ```
    /// # fn rules() -> Result<ggrok_client::Rules, ggrok_client::BadRules> {
    /// use ggrok_client::{Logins, Rules};
    ///
    /// Ok(Rules {
    ///     logins: Some(Logins::new(&["ana:a password".parse()?])?),
    ///     networks: vec!["203.0.113.0/24".parse()?],
    ///     paths: vec!["/webhooks".parse()?],
    ///     ..Rules::default()
    /// })
    /// # }
    /// ```
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Which host the service or the local server is told, in place of the public one.
    pub fn host_header(mut self, host_header: HostHeader) -> Self {
        self.host_header = host_header;
        self
    }

    /// Whether the service or local server is spoken to in HTTP/2, which those of gRPC want.
    pub const fn local_http2(mut self, http2: bool) -> Self {
        self.local_http2 = http2;
        self
    }

    /// The one dialect to speak, in place of the best that the relay knows.
    pub const fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    /// Certificate authorities to trust besides the platform's.
    pub fn authorities(mut self, authorities: Vec<CertificateDer<'static>>) -> Self {
        self.authorities = authorities;
        self
    }

    /// How long calls that run may take to finish at the [`shutdown`](Self::shutdown), in place of 5 s;
    /// a minute at most.
    pub const fn grace_period(mut self, grace_period: Duration) -> Self {
        self.grace_period = Some(grace_period);
        self
    }

    /// The bounds of the tunnel.
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Tells what happens to a function, which must not block.
    pub fn on_event(mut self, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Stops the client in order when this future is done.
    pub fn shutdown(mut self, shutdown: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Box::pin(shutdown);
        self
    }

    /// Publishes a service of this program, such as an axum `Router`, until the shutdown. It is
    /// called as behind any HTTP/1.1 server, WebSockets included, or as behind one of HTTP/2 (see
    /// [`local_http2`](Self::local_http2)). Dropping the future ends the
    /// client at once, and with it the calls that run.
    ///
    /// # Errors
    /// See [`run()`].
    pub async fn serve<S, B>(self, service: S) -> Result<(), RunError>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        self.publish(LocalService::new(service)).await
    }

    /// Publishes a local server until the shutdown. Dropping the future ends the client at once.
    ///
    /// # Errors
    /// See [`run()`].
    pub async fn forward(self, local: LocalAddress) -> Result<(), RunError> {
        self.publish(local).await
    }

    async fn publish(self, upstream: impl Into<Upstream>) -> Result<(), RunError> {
        let mut config = Config::with_upstream(self.relay, upstream);
        config.claim = self.claim;
        if let (Claim::Mirror(mirror), Some(public)) = (&mut config.claim, self.public) {
            mirror.public = public;
        }
        config.rules = self.rules;
        config.host_header = self.host_header;
        config.token = self.token;
        config.local_http2 = self.local_http2;
        config.authorities = self.authorities;
        config.dialect = self.dialect;
        config.grace_period = self.grace_period.unwrap_or(config.grace_period);
        config.limits = self.limits;
        run(config, self.observer, self.shutdown).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Client");
        shown
            .field("relay", &self.relay)
            .field("claim", &self.claim);
        shown.finish_non_exhaustive()
    }
}
