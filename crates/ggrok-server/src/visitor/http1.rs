//! A visitor's connection in HTTP/1 (RFC 9112).

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody;
use ggrok_protocol::{FlushedBody, OnWake};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{timeout, timeout_at};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::admission::MAX_FIELDS;
use super::pause::{Left, Pause, PausingStream};
use super::{LAST_WORDS, QUIET, answer};
use crate::Config;
use crate::app::App;
use crate::limits::calls::Cut;
use crate::limits::connections::Seat;
use crate::peer::Peer;
use crate::stream::{Departure, Last, VisitorStream};
use crate::visitor_body::VisitorBody;

/// Serves a visitor's connection until it ends, and lets its last answer arrive.
pub(super) async fn serve(
    stream: PausingStream<VisitorStream>,
    departure: Departure,
    peer: Peer,
    app: Arc<App>,
    pages: Router,
    draining: CancellationToken,
) {
    let stopping = draining.clone();
    let last = departure.last().clone();
    // It has its place until it is closed.
    let seated = peer.clone();
    if until_end(stream, departure.wait(), last, peer, app, pages, draining).await {
        return;
    }
    let quiet = if stopping.is_cancelled() {
        LAST_WORDS
    } else {
        QUIET
    };
    if let Some(seat) = seated.seat() {
        seat.activity().closing();
    }
    departure.linger(quiet).await;
}

/// Serves a visitor's connection until its end or until `departure` is done. Returns whether the visitor
/// has said that it sends no more, which is noted as `last`, and has been answered.
pub(crate) async fn until_end(
    mut stream: PausingStream<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    departure: impl Future<Output = ()>,
    last: Last,
    peer: Peer,
    app: Arc<App>,
    pages: Router,
    draining: CancellationToken,
) -> bool {
    stream.reserve_from(peer.seat().map(Seat::head_memory));
    let (asks, pause) = (last.clone(), stream.pause().clone());
    let flush = stream.flush().clone();
    let builder = builder(&app.config, &pause);
    let mut stream = TimeoutStream::new(stream);
    // A visitor who takes nothing of its answer holds memory and a place.
    stream.set_write_timeout(Some(app.config.limits.stream_idle));
    let (begun, stopping) = (pause.clone(), draining.clone());
    let asking = peer.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        begun.end();
        asks.note(is_last(&request), !request.body().is_end_stream());
        let (app, pages, peer) = (Arc::clone(&app), pages.clone(), asking.clone());
        let (stopping, flush) = (stopping.clone(), flush.clone());
        // In a box: hyper keeps the room of this future for as long as it serves, and moves it.
        Box::pin(async move {
            let seated = peer.clone();
            let mut response = answer(app, pages, peer, request).await;
            if let (Some(entry), Some(seat)) = (response.body().entry(), seated.seat()) {
                entry.ends_by(Cut::Connection(seat.eviction()));
            }
            let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            if let (true, Some(seat)) = (is_upgraded, seated.seat()) {
                seat.activity().upgraded();
            }
            if stopping.is_cancelled() && !is_upgraded {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(response.map(|body| FlushedBody::new(body, flush)))
        })
    });
    let serving = with_pauses(&builder, Box::pin(stream), service, &pause, &draining);
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        // The departure comes behind whoever writes: see [`Departure::wait`].
        biased;
        ended = &mut serving => ended,
        // hyper would see it no sooner than somebody reads on in the request's body. The app gets what
        // came of that.
        () = departure => match last.sends_body() {
            true => timeout(LAST_BYTES, serving).await.unwrap_or(Ok(())),
            false => Ok(()),
        },
    };
    if let Err(error) = ended {
        // Visitors leave, time out and send nonsense all day; none of that is ours to act on.
        tracing::debug!(%peer, %error, "a visitor's connection failed");
        return false;
    }
    last.is_noted()
}

/// Serves a connection, and takes it from hyper for as long as its visitor pauses.
async fn with_pauses<S, V>(
    builder: &Builder,
    mut stream: Pin<Box<TimeoutStream<PausingStream<S>>>>,
    mut service: V,
    pause: &Pause,
    draining: &CancellationToken,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: HttpService<Incoming, ResBody = FlushedBody<VisitorBody>, Error = Infallible> + Unpin,
{
    let drained = pin!(draining.cancelled());
    let mut drained = OnWake::new(drained);
    loop {
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = Box::pin(connection.with_upgrades());
        let left = tokio::select! {
            left = pause.until(connection.as_mut()) => left,
            () = &mut drained => return last_words(connection, pause).await,
        };
        let due = match left {
            Left::Ended(ended) => return ended.map_err(io::Error::other),
            Left::Late => return Err(io::ErrorKind::TimedOut.into()),
            Left::Paused(due) => due,
        };
        let Some(parts) = Pin::into_inner(connection).into_parts() else {
            return Ok(());
        };
        (stream, service) = (parts.io.into_inner(), parts.service);
        let paused = stream.as_mut().get_pin_mut().get_mut();
        paused.unread(parts.read_buf);
        paused.release();
        tokio::select! {
            readable = timeout_at(due.into(), paused.readable()) => readable?,
            () = draining.cancelled() => {}
        }
    }
}

/// Serves a connection to its end while the relay stops.
async fn last_words<S, V>(
    mut connection: Pin<Box<UpgradeableConnection<S, V>>>,
    pause: &Pause,
) -> io::Result<()>
where
    S: Read + Write + Unpin + Send + 'static,
    V: HttpService<Incoming, ResBody = FlushedBody<VisitorBody>, Error = Infallible>,
{
    if let Ok(ended) = timeout(LAST_WORDS, connection.as_mut()).await {
        return ended.map_err(io::Error::other);
    }
    connection.as_mut().graceful_shutdown();
    match pause.until(connection).await {
        Left::Ended(ended) => ended.map_err(io::Error::other),
        Left::Late => Err(io::ErrorKind::TimedOut.into()),
        Left::Paused(_) => Ok(()),
    }
}

/// How long the app may take to read what came of the body of a visitor who has left.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// What the head of a request may cost.
fn builder(config: &Config, pause: &Pause) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(pause.clone())
        .header_read_timeout(config.idle_timeout)
        .max_headers(2 * MAX_FIELDS)
        .max_buf_size((2 * config.head_limit).max(LEAST_BUFFER));
    builder
}

/// Whether nothing comes behind a request: its visitor asks to close (RFC 9112, section 9.6) and for no other
/// protocol, and it has no body.
fn is_last<B: HttpBody>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let connection = headers.get_all(CONNECTION).iter();
    let mut options = connection.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
        && !headers.contains_key(UPGRADE)
        && request.body().is_end_stream()
}

/// The least that hyper can work with.
const LEAST_BUFFER: usize = 8 << 10;
