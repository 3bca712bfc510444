//! One visitor's connection.

mod admission;
mod grpc;
mod http2;
mod preface;
mod streams;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::header::{ACCEPT, CONNECTION};
use http::{Extensions, HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use self::admission::MAX_FIELDS;
pub(crate) use self::admission::{admit, check};
use crate::app::App;
use crate::host::Host;
use crate::metrics::Desk;
use crate::place::Place;
use crate::stream::{self, Departure, VisitorStream};
use crate::{Config, call, pages};

/// Who sent a request, and for whom: what the rest of the relay knows of its origin.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) host: Host,
    pub(crate) peer: IpAddr,
}

/// Where a request came from, as far as this server or the app that embeds the relay saw.
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let visit: Option<&Visit> = extensions.get();
    let connection: Option<&ConnectInfo<SocketAddr>> = extensions.get();
    visit
        .map(|visit| visit.peer)
        .or_else(|| Some(connection?.0.ip()))
}

/// Serves a visitor's connection until it ends. After `draining`, the requests that run are the
/// last ones.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    app: Arc<App>,
    pages: Router,
    draining: CancellationToken,
) {
    let (mut stream, departure) = stream::watched(stream);
    if !app.config.http2 {
        return http1_to_its_end(stream, departure, peer, app, pages, draining).await;
    }
    let stopped = async {
        draining.cancelled().await;
        sleep(LAST_WORDS).await;
    };
    let begun = tokio::select! {
        begun = timeout(app.config.idle_timeout, preface::is_http2(&mut stream)) => begun,
        () = stopped => return,
    };
    match begun {
        // In a box, since most connections are none of these and would keep its room.
        Ok(Ok(true)) => Box::pin(http2::serve(stream, peer, app, pages, draining)).await,
        Ok(Ok(false)) => http1_to_its_end(stream, departure, peer, app, pages, draining).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a visitor's connection failed"),
        Err(_) => tracing::debug!(%peer, "a visitor said nothing"),
    }
}

/// Serves a visitor's connection in HTTP/1, and lets its last answer arrive.
async fn http1_to_its_end(
    stream: VisitorStream,
    departure: Departure,
    peer: IpAddr,
    app: Arc<App>,
    pages: Router,
    draining: CancellationToken,
) {
    let stopping = draining.clone();
    if http1(stream, departure.wait(), peer, app, pages, draining).await {
        return;
    }
    let quiet = if stopping.is_cancelled() {
        LAST_WORDS
    } else {
        QUIET
    };
    departure.linger(quiet).await;
}

/// Serves a visitor's connection in HTTP/1, until its end or until `departure` is done. Returns whether
/// the visitor has said that it sends no more, and has been answered.
pub(crate) async fn http1(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    departure: impl Future<Output = ()>,
    peer: IpAddr,
    app: Arc<App>,
    pages: Router,
    draining: CancellationToken,
) -> bool {
    let (shared, stopping) = (Arc::clone(&app), draining.clone());
    let has_asked_last = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&has_asked_last);
    let service = service_fn(move |request| {
        asks.store(is_last(&request), Ordering::Relaxed);
        let (app, pages) = (Arc::clone(&shared), pages.clone());
        let stopping = stopping.clone();
        // In a box: hyper keeps the room of this future for as long as the connection is open, and moves it.
        Box::pin(async move {
            let mut response = answer(app, pages, peer, request).await;
            if stopping.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        })
    });
    let mut stream = TimeoutStream::new(stream);
    // A visitor who takes nothing of its answer holds memory and a place.
    stream.set_write_timeout(Some(app.config.limits.stream_idle));
    let mut connection = pin!(
        builder(&app.config)
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
            .with_upgrades()
    );
    let serving = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = draining.cancelled() => match timeout(LAST_WORDS, connection.as_mut()).await {
                Ok(ended) => ended,
                Err(_) => {
                    connection.as_mut().graceful_shutdown();
                    connection.as_mut().await
                }
            }
        }
    };
    let ended = tokio::select! {
        biased;
        ended = serving => ended,
        // hyper would see it no sooner than somebody reads on in the request's body.
        () = departure => Ok(()),
    };
    if let Err(error) = ended {
        // Visitors leave, time out and send nonsense all day; none of that is ours to act on.
        tracing::debug!(%peer, %error, "a visitor's connection failed");
        return false;
    }
    has_asked_last.load(Ordering::Relaxed)
}

/// What the head of a request may cost.
fn builder(config: &Config) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout)
        .max_headers(2 * MAX_FIELDS)
        .max_buf_size((2 * config.head_limit).max(LEAST_BUFFER));
    builder
}

/// Whether nothing comes behind a request: its visitor asks to close (RFC 9112, section 9.6), and it has no
/// body.
fn is_last<B: HttpBody>(request: &Request<B>) -> bool {
    let connection = request.headers().get_all(CONNECTION).iter();
    let mut options = connection.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
        && request.body().is_end_stream()
}

async fn answer(
    app: Arc<App>,
    mut pages: Router,
    peer: IpAddr,
    mut request: Request<Incoming>,
) -> Response {
    let host = match admit(&mut request, app.config.head_limit) {
        Ok(host) => host,
        Err(error) => {
            tracing::debug!(%peer, %error, "refused a request");
            return app.refuse(Desk::Request, &error, request.headers().get(ACCEPT));
        }
    };
    let visit = Visit { host, peer };
    if pages::is_page(request.uri().path()) {
        request.extensions_mut().insert(visit);
        let Ok(response) = pages.call(request).await;
        return response;
    }
    // Not through the router: it puts a Content-Length into answers to HEAD.
    let place = Place::Host(visit.host);
    let peer = Some(peer);
    call::answer(&app, &place, peer, request.map(Body::new)).await
}

/// How long a visitor who has connected may take to send a request when the relay stops. hyper
/// would close on one that is on its way.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How long a visitor may pause within what it still sends to a connection that we have closed.
const QUIET: Duration = Duration::from_secs(1);

/// The least that hyper can work with.
const LEAST_BUFFER: usize = 8 << 10;
