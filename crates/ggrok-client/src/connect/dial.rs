//! Opens connections to a relay: directly or through a proxy, in the clear or by TLS.

use std::error::Error;
use std::io;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;
use tower_service::Service;

use super::{Stream, proxy};
use crate::{ConnectError, RelayAddress, tls};

/// Opens connections to one relay.
pub(crate) struct Dialler {
    relay: RelayAddress,
    tls: Option<TlsConnector>,
    proxy: Option<Intercept>,
    target: String,
}

impl Dialler {
    /// Reads what a connection needs of the system: trusted certificates, and the environment's
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    pub(crate) fn new(
        relay: RelayAddress,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, ConnectError> {
        let tls = if relay.is_secure() {
            Some(tls::connector(authorities).map_err(ConnectError::Roots)?)
        } else {
            None
        };
        let uri = relay.uri().ok().filter(|_| !relay.is_loopback());
        let proxy = uri.and_then(|uri| Matcher::from_env().intercept(&uri));
        let host_and_port = relay.host_and_port();
        let target = match &proxy {
            Some(proxy) => format!("{host_and_port} through {}", proxy::name(proxy)),
            None => host_and_port,
        };
        Ok(Self {
            relay,
            tls,
            proxy,
            target,
        })
    }

    /// What is dialled, as a person should read it.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Opens a connection. Cancel-safe.
    pub(crate) async fn open(&self) -> Result<Stream, ConnectError> {
        let stream = self.dial().await?;
        self.encrypt(stream).await
    }

    /// A connection that could not be used, or was lost.
    pub(crate) fn lost(&self, error: &dyn Error) -> ConnectError {
        ConnectError::Unreachable(format!("{}: {}", self.target, chain(error)))
    }

    async fn dial(&self) -> Result<TcpStream, ConnectError> {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_nodelay(true);
        // ggrok's own relay answers no pings, so the kernel has to find out that it is gone.
        direct.set_keepalive(Some(KEEPALIVE));
        let uri = self.relay.uri().map_err(|error| self.lost(&error))?;
        let Some(proxy) = &self.proxy else {
            let dialled = direct.call(uri).await;
            return dialled
                .map(TokioIo::into_inner)
                .map_err(|error| self.unreachable(&error));
        };
        proxy::check(proxy)?;
        let dialled = direct.call(proxy.uri().clone()).await;
        let stream = dialled.map_err(|error| {
            let name = proxy::name(proxy);
            let reason = format!("{}: {name}: {}", self.relay.host_and_port(), chain(&error));
            ConnectError::Unreachable(format!("{reason} (check the variable {})", self.variable()))
        })?;
        proxy::connect(proxy, stream.into_inner(), &self.relay).await
    }

    /// The variable of the environment that most likely names the proxy.
    const fn variable(&self) -> &'static str {
        proxy::variable(&self.relay)
    }

    /// A connection that was not made, and what to do.
    fn unreachable(&self, error: &(dyn Error + 'static)) -> ConnectError {
        let reason = chain(error);
        let host = self.relay.host();
        // The connector's error has no other mark.
        if let Some(cause) = reason.strip_prefix("dns error: ") {
            let cause = cause.trim_start_matches("failed to lookup address information: ");
            let mut advice = "check its spelling, and this machine's network".to_owned();
            if !host.contains('.') {
                advice.push_str("; -s is --server, and a name of your own is --name");
            }
            return ConnectError::Unreachable(format!(
                "{}: the host name {host} cannot be resolved: {cause} ({advice})",
                self.target
            ));
        }
        let reason = reason.trim_start_matches("tcp connect error: ");
        let advice = match (self.relay.port(), is_refused(error)) {
            (_, false) => String::new(),
            (Some(_), true) => " (is the relay running there, and is this its port?)".to_owned(),
            (None, true) => format!(" (has the relay another port? Give it, like {host}:8080)"),
        };
        ConnectError::Unreachable(format!("{}: {reason}{advice}", self.target))
    }

    async fn encrypt(&self, stream: TcpStream) -> Result<Stream, ConnectError> {
        let Some(tls) = &self.tls else {
            return Ok(Either::Left(stream));
        };
        let host = self.relay.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| self.lost(&error))?;
        let encrypted = tls.connect(name, stream).await;
        encrypted
            .map(Either::Right)
            .map_err(|error| self.not_encrypted(&error))
    }

    /// A failed TLS handshake.
    fn not_encrypted(&self, error: &io::Error) -> ConnectError {
        use rustls::Error as Tls;
        match error.get_ref().and_then(|cause| cause.downcast_ref()) {
            Some(cause @ Tls::InvalidCertificate(_)) => ConnectError::Certificate(cause.clone()),
            Some(Tls::InvalidMessage(_)) => ConnectError::NotTls(self.target.clone()),
            _ => ConnectError::Unreachable(format!(
                "{}: the TLS handshake failed: {error}",
                self.target
            )),
        }
    }
}

/// Whether the other side refused the connection.
fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let error_of_io = error.downcast_ref::<io::Error>();
        if error_of_io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error with its causes, which is where connectors say what happened.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Silence after which the kernel asks whether the relay is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
