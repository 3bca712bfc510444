//! A visitor's connection in HTTP/2, in the clear (RFC 9113).

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use ggrok_protocol::remove_hop_by_hop;
use http::header::{COOKIE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::streams::{Noted, Runner, Streams};
use super::{LAST_WORDS, QUIET, answer, grpc};
use crate::Config;
use crate::app::App;
use crate::error::RelayError;
use crate::peer::Peer;
use crate::visitor_body::VisitorBody;

/// Serves a visitor's connection until it ends. After `draining`, the requests that run are the
/// last ones; so are those of a connection on which nothing has run for the idle time.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    app: Arc<App>,
    pages: Router,
    draining: CancellationToken,
) {
    let (idle_timeout, stream_idle) = (app.config.idle_timeout, app.config.limits.stream_idle);
    // Behind routers of ours all connections are theirs.
    let is_visitor = app.config.trusted_hops == 0;
    let of_address = is_visitor.then(|| app.calls.streams(peer.address()));
    let streams = Streams::new(stream_idle, peer.activity(), of_address);
    let builder = builder(streams.runner(), &app.config);
    let asking = peer.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, pages, peer) = (Arc::clone(&app), pages.clone(), asking.clone());
        // In a box, since the task of a stream moves it, and has room for it several times.
        Box::pin(async move {
            let is_grpc = grpc::is_call(request.headers());
            let is_head = request.method() == Method::HEAD;
            let mut response = answer(app, pages, peer, request).await;
            if is_grpc {
                response = grpc::response(response);
            }
            if is_head {
                // hyper sees to that in HTTP/1 alone (RFC 9110, section 9.3.2).
                *response.body_mut() = Body::empty().into();
            }
            Ok::<_, Infallible>(onward(response))
        })
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(stream_idle));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Box::pin(stream)), service));
    let last = async {
        tokio::select! {
            () = draining.cancelled() => sleep(LAST_WORDS).await,
            () = streams.idle(idle_timeout) => {}
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = streams.deaf(), if is_visitor => Ok(()),
        () = last => {
            connection.as_mut().graceful_shutdown();
            let stopped = async {
                draining.cancelled().await;
                streams.idle(QUIET).await;
            };
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = streams.deaf(), if is_visitor => Ok(()),
                // What is left to write nobody takes.
                () = streams.idle(stream_idle) => Ok(()),
                // Nobody hears that this is the end.
                () = stopped => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a visitor's connection failed");
    }
}

/// What one connection may cost. A stream that is opened and reset at once, as in CVE-2023-44487,
/// counts for the library's own limits, after which it closes the connection.
fn builder(runner: Runner, config: &Config) -> http2::Builder<Runner> {
    let limits = config.limits;
    let head_limit = u32::try_from(2 * config.head_limit).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(runner);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(head_limit)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(STREAMS * WINDOW)
        .max_send_buf_size(WINDOW as usize)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(FAULTS)
        .keep_alive_interval(limits.ping_every)
        .keep_alive_timeout(limits.dead_after.saturating_sub(limits.ping_every));
    builder
}

/// Writes a request as HTTP/1.1 has it, which is what the rest of the relay reads: the authority in
/// the Host field (RFC 9113, section 8.3.1), the target in origin form, the cookies in one field
/// (section 8.2.3).
pub(super) fn into_http1<B>(request: &mut Request<B>) -> Result<(), RelayError> {
    if request.method() == Method::CONNECT {
        return Ok(());
    }
    let uri = request.uri();
    if let Some(authority) = uri.authority() {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| RelayError::BadHost)?;
        let same = |field: &HeaderValue| field.as_bytes().eq_ignore_ascii_case(host.as_bytes());
        if !request.headers().get_all(HOST).iter().all(same) {
            return Err(RelayError::BadHost);
        }
        request.headers_mut().insert(HOST, host);
    }
    let target = request.uri().path_and_query();
    let target = target.map_or(PathAndQuery::from_static("/"), Clone::clone);
    if !(target.as_str().starts_with('/') || target == "*") {
        return Err(RelayError::BadTarget);
    }
    *request.uri_mut() = Uri::from(target);
    join_cookies(request.headers_mut());
    Ok(())
}

fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let crumbs = [first, second].into_iter().chain(crumbs);
        let crumbs: Vec<&[u8]> = crumbs.map(HeaderValue::as_bytes).collect();
        let cookies = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]));
        headers.insert(COOKIE, cookies.expect("valid values, joined"));
    }
}

/// The response as HTTP/2 has it: no field says anything of the connection (RFC 9113, section
/// 8.2.2).
fn onward(mut response: Response<VisitorBody>) -> Response<Noted> {
    remove_hop_by_hop(response.headers_mut());
    response.map(Noted::new)
}

/// Requests at a time: the least that RFC 9113, section 6.5.2 recommends.
const STREAMS: u32 = 100;

/// Bytes that may be unread of a request's body, and unsent of a response's: what a tunnel starts
/// with. The connection has the windows of all its streams: one that stalls must not hold up those
/// of other visitors, since behind a proxy they share it.
const WINDOW: u32 = 64 << 10;

/// Streams that a visitor has reset before we looked at them.
const PENDING_RESETS: usize = 20;

/// Streams that we have reset for an error of the visitor's. To open too many is one, and no harm is
/// meant by those who have not heard of the limit yet.
const FAULTS: usize = 1000;
