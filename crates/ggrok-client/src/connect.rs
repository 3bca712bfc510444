//! From an address to a WebSocket: dial, TLS, handshake.

use std::time::Duration;

use ggrok_protocol::REGISTER_PATH;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::either::Either;
use tower_service::Service;

use crate::socket::Socket;
use crate::{Config, ConnectError, tls};

/// The connection to a relay, in the clear or encrypted.
pub(crate) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Dials one relay, as often as it takes.
pub(crate) struct Connector {
    config: Config,
    tls: Option<TlsConnector>,
    proxies: Matcher,
}

impl Connector {
    /// Reads what a connection needs of the system: trusted certificates, and the environment's
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    pub(crate) fn new(config: Config) -> Result<Self, ConnectError> {
        let tls = if config.relay.is_secure() {
            let connector = tls::connector(config.authorities.clone());
            Some(connector.map_err(ConnectError::Roots)?)
        } else {
            None
        };
        Ok(Self {
            config,
            tls,
            proxies: Matcher::from_env(),
        })
    }

    /// Connects and registers. Cancel-safe: what has been opened is closed.
    pub(crate) async fn connect(&self) -> Result<Socket<Stream>, ConnectError> {
        timeout(PATIENCE, async {
            let stream = self.dial().await?;
            let stream = self.encrypt(stream).await?;
            self.register(stream).await
        })
        .await
        .map_err(|_| ConnectError::TimedOut)?
    }

    async fn dial(&self) -> Result<TcpStream, ConnectError> {
        let relay = &self.config.relay;
        let scheme = if relay.is_secure() { "https" } else { "http" };
        let target = relay.uri(scheme, "/").map_err(unreachable)?;
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_nodelay(true);
        // ggrok's own relay answers no pings, so the kernel has to find out that it is gone.
        direct.set_keepalive(Some(KEEPALIVE));
        let stream = match self
            .proxies
            .intercept(&target)
            .filter(|_| !relay.is_loopback())
        {
            Some(proxy) => dial_through(&proxy, direct, target).await,
            None => direct.call(target).await.map_err(unreachable),
        };
        stream.map(TokioIo::into_inner)
    }

    async fn encrypt(&self, stream: TcpStream) -> Result<Stream, ConnectError> {
        let Some(tls) = &self.tls else {
            return Ok(Either::Left(stream));
        };
        let host = self.config.relay.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(unreachable)?;
        Ok(Either::Right(tls.connect(name, stream).await?))
    }

    async fn register(&self, stream: Stream) -> Result<Socket<Stream>, ConnectError> {
        let limit = self.config.limits.request_message();
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let request = self.handshake().map_err(unreachable)?;
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(Socket::new(socket)),
            Err(Error::Http(response)) => Err(refusal(&response)),
            Err(Error::Io(error)) => Err(unreachable(error)),
            Err(error) => Err(ConnectError::NoRelay(error.to_string())),
        }
    }

    fn handshake(&self) -> Result<ClientRequestBuilder, http::Error> {
        let relay = &self.config.relay;
        let uri = Uri::builder()
            .scheme(if relay.is_secure() { "wss" } else { "ws" })
            .authority(relay.authority())
            .path_and_query(REGISTER_PATH)
            .build()?;
        let request = ClientRequestBuilder::new(uri).with_header(USER_AGENT.as_str(), AGENT);
        Ok(match &self.config.token {
            Some(token) => {
                let bearer = format!("Bearer {}", token.reveal());
                request.with_header(AUTHORIZATION.as_str(), bearer)
            }
            None => request,
        })
    }
}

async fn dial_through(
    proxy: &Intercept,
    direct: HttpConnector,
    target: Uri,
) -> Result<TokioIo<TcpStream>, ConnectError> {
    match proxy.uri().scheme_str() {
        Some("http") => {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), direct);
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            tunnel.call(target).await.map_err(through_proxy)
        }
        Some("socks5" | "socks5h") => {
            let mut tunnel = SocksV5::new(proxy.uri().clone(), direct);
            if let Some((user, password)) = proxy.raw_auth() {
                tunnel = tunnel.with_auth(user.to_owned(), password.to_owned());
            }
            tunnel.call(target).await.map_err(through_proxy)
        }
        _ => Err(ConnectError::Proxy(proxy.uri().to_string())),
    }
}

fn through_proxy(error: impl std::error::Error) -> ConnectError {
    ConnectError::Unreachable(format!(
        "through the proxy of the environment: {}",
        chain(&error)
    ))
}

fn unreachable(error: impl std::error::Error) -> ConnectError {
    ConnectError::Unreachable(chain(&error))
}

/// An error with its causes, which is where connectors say what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What an HTTP answer in place of a WebSocket means.
fn refusal(response: &Response<Option<Vec<u8>>>) -> ConnectError {
    let status = response.status();
    let reason = reason(response);
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return ConnectError::Unavailable { status, reason };
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ConnectError::Refused(reason),
        _ => ConnectError::NoRelay(format!("it answered {status}")),
    }
}

/// The first line of a relay's own words; of others none are shown.
fn reason(response: &Response<Option<Vec<u8>>>) -> String {
    let body = response.body().as_deref().unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let ours = response
        .headers()
        .contains_key(ggrok_protocol::ERROR_HEADER);
    match text.lines().next().filter(|line| ours && !line.is_empty()) {
        Some(line) => line.chars().filter(|letter| !letter.is_control()).collect(),
        None => response.status().to_string(),
    }
}

const AGENT: &str = concat!("ggrok-client/", env!("CARGO_PKG_VERSION"));

/// How long connecting may take, from the look-up of the name to the end of the handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// Silence after which the kernel asks whether the relay is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The WebSocket library clears this buffer before each read.
const READ_BUFFER: usize = 64 << 10;
