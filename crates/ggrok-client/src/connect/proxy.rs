//! The way to a relay through a proxy of the environment: HTTP CONNECT (RFC 9110, section 9.3.6) or SOCKS 5.

use std::future::ready;
use std::io;

use http::StatusCode;
use httparse::{EMPTY_HEADER, Header, Status};
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::{ConnectError, RelayAddress, printable};

/// The proxy's address, without a password.
pub(super) fn name(proxy: &Intercept) -> String {
    let uri = proxy.uri();
    let scheme = uri.scheme_str().unwrap_or("http");
    let host = uri.host().unwrap_or_default();
    let port = uri
        .port_u16()
        .map_or_else(String::new, |port| format!(":{port}"));
    format!("the proxy {scheme}://{host}{port}")
}

/// The variable of the environment that most likely names the proxy.
pub(super) const fn variable(relay: &RelayAddress) -> &'static str {
    if relay.is_secure() {
        "HTTPS_PROXY"
    } else {
        "HTTP_PROXY"
    }
}

/// Whether the proxy is of a kind that is spoken.
pub(super) fn check(proxy: &Intercept) -> Result<(), ConnectError> {
    match proxy.uri().scheme_str() {
        Some("http" | "socks5" | "socks5h") => Ok(()),
        _ => Err(ConnectError::Proxy(name(proxy))),
    }
}

/// Has a proxy connect a stream with the relay.
pub(super) async fn connect(
    proxy: &Intercept,
    stream: TcpStream,
    relay: &RelayAddress,
) -> Result<TcpStream, ConnectError> {
    if proxy.uri().scheme_str() == Some("http") {
        connect_by_http(proxy, stream, relay).await
    } else {
        connect_by_socks(proxy, stream, relay).await
    }
}

async fn connect_by_socks(
    proxy: &Intercept,
    stream: TcpStream,
    relay: &RelayAddress,
) -> Result<TcpStream, ConnectError> {
    let failed = |reason: &str| unreachable(proxy, relay, reason);
    let target = relay.uri().map_err(|error| failed(&error.to_string()))?;
    let mut socks = SocksV5::new(proxy.uri().clone(), Dialled(Some(stream)));
    if let Some((user, password)) = proxy.raw_auth() {
        socks = socks.with_auth(user.to_owned(), password.to_owned());
    }
    let connected = socks.call(target).await;
    connected.map(TokioIo::into_inner).map_err(|error| {
        let reason = error.to_string();
        match reason.trim_start_matches("SOCKS error: ") {
            "failed parsing server response" => failed("its answer is not SOCKS 5"),
            "io error during SOCKS handshake" => failed("it closed the connection"),
            "credentials not accepted" => login_refused(proxy, relay),
            "server does not support user/pass authentication" if proxy.raw_auth().is_none() => {
                login_wanted(proxy, relay)
            }
            reason => failed(reason),
        }
    })
}

/// A connector to the proxy that has connected already.
struct Dialled(Option<TcpStream>);

impl Service<http::Uri> for Dialled {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let stream = self.0.take().map(TokioIo::new);
        ready(stream.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

async fn connect_by_http(
    proxy: &Intercept,
    mut stream: TcpStream,
    relay: &RelayAddress,
) -> Result<TcpStream, ConnectError> {
    let failed = |reason: String| unreachable(proxy, relay, &reason);
    let target = relay.host_and_port();
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(authorization) = proxy.basic_auth() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let sent = stream.write_all(&request).await;
    sent.map_err(|error| failed(error.to_string()))?;
    let head = head(&mut stream).await.map_err(failed)?;
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let parsed = answer.parse(&head);
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    match status {
        Some(status) if parsed.is_ok() && status.is_success() => Ok(stream),
        Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED) => Err(login(proxy, relay, answer.headers)),
        Some(status) if status.is_client_error() => Err(ConnectError::ProxyRefused(format!(
            "{} refuses a connection with {target}: {status} (ask who runs it, or name the relay in \
             NO_PROXY where it can be reached directly)",
            name(proxy)
        ))),
        Some(status) => Err(failed(format!("it answers {status}"))),
        None => {
            let said = String::from_utf8_lossy(&head);
            let said: String = said
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(80)
                .collect();
            Err(failed(format!(
                "it is not an HTTP proxy: it answered \"{}\"",
                printable(&said)
            )))
        }
    }
}

/// Reads the head of an answer, or what is none. Nothing can follow a head before the tunnel is used.
async fn head(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let mut head = Vec::new();
    loop {
        let mut fields = [EMPTY_HEADER; FIELDS];
        match httparse::Response::new(&mut fields).parse(&head) {
            Ok(Status::Partial) if head.len() >= LONGEST => {
                return Err(format!("its answer has more than {LONGEST} bytes"));
            }
            Ok(Status::Partial) => {}
            Ok(Status::Complete(_)) | Err(_) => return Ok(head),
        }
        match stream.read_buf(&mut head).await {
            Ok(0) if head.is_empty() => return Err("it closed the connection".to_owned()),
            Ok(0) => return Err("it closed the connection within its answer".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// What a 407 means: no login, a wrong one, or one of a kind that is not spoken.
fn login(proxy: &Intercept, relay: &RelayAddress, fields: &[Header<'_>]) -> ConnectError {
    let schemes: Vec<_> = fields
        .iter()
        .filter(|field| field.name.eq_ignore_ascii_case("proxy-authenticate"))
        .filter_map(|field| str::from_utf8(field.value).ok()?.split_whitespace().next())
        .map(|scheme| scheme.trim_end_matches(','))
        .collect();
    let has_basic = schemes
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case("basic"));
    if !schemes.is_empty() && !has_basic {
        return ConnectError::ProxyRefused(format!(
            "{} wants a login by {}, which is not supported: only Basic is (407)",
            name(proxy),
            printable(&schemes.join(" or "))
        ));
    }
    if proxy.basic_auth().is_some() {
        login_refused(proxy, relay)
    } else {
        login_wanted(proxy, relay)
    }
}

fn login_wanted(proxy: &Intercept, relay: &RelayAddress) -> ConnectError {
    ConnectError::ProxyRefused(format!(
        "{} wants a login: put user:password into {}, before its host",
        name(proxy),
        variable(relay)
    ))
}

fn login_refused(proxy: &Intercept, relay: &RelayAddress) -> ConnectError {
    ConnectError::ProxyRefused(format!(
        "{} refuses the user or the password in {}",
        name(proxy),
        variable(relay)
    ))
}

fn unreachable(proxy: &Intercept, relay: &RelayAddress, reason: &str) -> ConnectError {
    let target = relay.host_and_port();
    ConnectError::Unreachable(format!("{target} through {}: {reason}", name(proxy)))
}

/// As many fields as a proxy's answer may have.
const FIELDS: usize = 100;

/// Bytes of a proxy's answer. Its pages for people are not read.
const LONGEST: usize = 16 << 10;
