//! What the relay's parts share.

use std::net::IpAddr;
use std::sync::Arc;

use axum::response::Response;
use ggrok_protocol::{CallError, Memory};
use http::HeaderValue;
use http::request::Parts;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Access, given_token};
use crate::attempts::{TokenAttempts, counted};
use crate::error::RelayError;
use crate::gate::Gate;
use crate::limits::calls::{Bounds, CallLimiter, Full};
use crate::log_limit::LogLimits;
use crate::metrics::{Desk, Shed};
use crate::own_hosts::{Contact, OwnHosts};
use crate::place::Place;
use crate::registry::Registry;
use crate::visitor::Visit;
use crate::{Config, Denied, Event, Grant, forwarded, visitor};

/// Who watches a relay.
pub(crate) type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// What the handlers share. When the last of its users drops it, all tunnels close.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) observer: Observer,
    pub(crate) registry: Registry,
    /// The hosts by which clients reach the relay itself.
    pub(crate) own_hosts: OwnHosts,
    /// Wrong tokens, by who gave them.
    pub(crate) wrong_tokens: TokenAttempts,
    /// Admits calls.
    pub(crate) calls: CallLimiter,
    /// The budget of bytes for visitors and their calls.
    pub(crate) memory: Memory,
    /// Whom tunnels let in.
    pub(crate) gate: Gate,
    /// Lines that peers may cause in the log.
    pub(crate) log: Arc<LogLimits>,
    /// Until when requests wait for their clients.
    pub(crate) settled: Instant,
    /// Owns the task of every tunnel.
    pub(crate) tunnels: TaskTracker,
    /// Owns the task of every upgraded connection. It ends with its tunnel.
    pub(crate) upgrades: TaskTracker,
    /// Ends every tunnel.
    pub(crate) stop: CancellationToken,
}

impl App {
    pub(crate) fn new(config: Config, observer: Observer) -> Self {
        config.metrics.counts().ready.set(1);
        let memory = Memory::new(config.memory);
        config.metrics.show_memory(memory.clone());
        let bounds = Bounds {
            calls: config.calls,
            per_address: config.per_address,
        };
        Self {
            registry: Registry::new(config.tunnels, config.tunnels_of_one)
                .within(config.domain.clone()),
            own_hosts: OwnHosts::new(config.own_hosts.clone(), config.domain.clone()),
            wrong_tokens: TokenAttempts::new(config.wrong_tokens),
            calls: CallLimiter::new(bounds, memory.clone()),
            memory,
            gate: Gate::new(),
            log: Arc::new(LogLimits::new()),
            settled: Instant::now() + config.settling_time,
            config,
            observer,
            tunnels: TaskTracker::new(),
            upgrades: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Takes the credentials out of a request, and says what they grant. An address that gave too many
    /// wrong tokens is refused before anybody is asked, and afterwards too: guesses that are looked at side
    /// by side learn no more than those that come one by one. Tokens that nobody guesses are let through.
    pub(crate) async fn authenticate(
        &self,
        access: &Access,
        request: &mut Parts,
    ) -> Result<Grant, RelayError> {
        let address = self.address(request);
        if address.is_none() && self.config.trusted_hops == 0 {
            // An app that does not tell who connects: one who guesses must not lock all others out.
            return Ok(access.authenticate(request).await?);
        }
        let (address, attempts) = (counted(address), &self.wrong_tokens);
        let token = given_token(&request.headers);
        let token = token.as_ref().map(HeaderValue::as_bytes);
        let may_give = || {
            let allowed = attempts.allowed(address, token, access.is_cheap());
            allowed.map_err(RelayError::TooManyAttempts)
        };
        may_give()?;
        let granted = access.authenticate(request).await;
        may_give()?;
        match (&granted, token) {
            (Ok(_), Some(token)) if !access.is_open() => attempts.succeeded(address, token),
            (Err(Denied::WrongToken), _) => {
                let counted = attempts.failed(address, token);
                counted.map_err(RelayError::TooManyAttempts)?;
            }
            _ => {}
        }
        Ok(granted?)
    }

    /// Notes the host of a valid request to the relay itself, unless it is a client's.
    pub(crate) fn note_own_host(&self, head: &Parts, grant: &Grant, contact: Contact) {
        let visit: Option<&Visit> = head.extensions.get();
        if let Some(Visit { host, .. }) = visit
            && !self.registry.is_held(&Place::Host(host.clone()))
        {
            self.own_hosts.note(host, grant, contact);
        }
    }

    /// Counts a request that becomes no call, and answers it.
    pub(crate) fn refuse(
        &self,
        at: Desk,
        error: &RelayError,
        accept: Option<&HeaderValue>,
    ) -> Response {
        let (_, code) = error.status_and_code();
        self.config.metrics.counts().refused(at, code);
        error.response(accept)
    }

    /// Counts somebody whom the relay turns away early, and says why.
    pub(crate) fn shed(&self, why: Shed) -> RelayError {
        self.config.metrics.counts().shed(why);
        match why {
            Shed::Address => RelayError::TooManyFromAddress,
            Shed::Connections | Shed::Calls | Shed::Files | Shed::Memory => RelayError::Overloaded,
        }
    }

    /// Says why a call is not admitted, and counts it where that is for the relay's sake.
    pub(crate) fn full(&self, full: Full) -> RelayError {
        match full {
            Full::Relay => self.shed(Shed::Calls),
            Full::Address => self.shed(Shed::Address),
            Full::Memory => self.shed(Shed::Memory),
            Full::Tunnel => CallError::TooManyCalls.into(),
            Full::TunnelBytes => CallError::TooManyBytes.into(),
        }
    }

    /// Ends every tunnel, and says so to who watches.
    pub(crate) fn end(&self) {
        self.config.metrics.counts().ready.set(0);
        self.stop.cancel();
    }

    /// The address of who sent a request: as the trusted hops tell, or the connection.
    fn address(&self, request: &Parts) -> Option<IpAddr> {
        let peer = visitor::peer(&request.extensions);
        forwarded::visitor(&request.headers, peer.as_ref(), self.config.trusted_hops)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.end();
    }
}
