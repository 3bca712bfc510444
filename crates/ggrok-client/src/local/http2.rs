//! Connections to a local server in HTTP/2, each for many calls at a time.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use ggrok_protocol::{SentBody, TunnelBody};
use h2::Reason;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use super::{LocalError, Repeated, is_idempotent};
use crate::Upstream;
use crate::tasks::Tasks;
use crate::upstream::Opened;

/// The connections to one local server, opened as calls need them. Mostly it is one.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<Vec<Arc<Connection>>>,
    /// The connection that is being opened, for as long as somebody waits for it.
    opening: Mutex<Option<WeakShared<Opening>>>,
}

/// One connection. Dropping it closes it.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<SentBody<TunnelBody>>,
    places: Arc<Semaphore>,
    /// Responses that have begun.
    heard: AtomicUsize,
    _over: DropGuard,
}

/// A call's place on its connection, until its response has been read or given up.
#[derive(Debug)]
pub(crate) struct Place {
    connection: Arc<Connection>,
    connections: Arc<Connections>,
    _taken: OwnedSemaphorePermit,
    since: Instant,
    heard: usize,
    answered: bool,
}

type Opening = BoxFuture<'static, Result<Arc<Connection>, Arc<io::Error>>>;

impl Connections {
    /// Sends a request on a connection that has a place, and on a new one where there is none or
    /// the local server has just closed it. A request that may have been seen is sent again only
    /// where that does no harm (RFC 9110, section 9.2.2).
    pub(super) async fn send(
        self: &Arc<Self>,
        mut request: Request<TunnelBody>,
        upstream: &Upstream,
        repeated: &Repeated<'_>,
    ) -> Result<(Response<Incoming>, Place), LocalError> {
        bring_into_http2(&mut request).map_err(LocalError::Target)?;
        while let Some(mut place) = self.place() {
            let (is_bare, is_idempotent) =
                (request.body().is_end_stream(), is_idempotent(&request));
            let mut failed = match place.send(request).await {
                Ok(response) => return Ok((response, place)),
                Err(failed) => failed,
            };
            // Its task may not have had a turn since.
            yield_now().await;
            let may_repeat = is_untouched(failed.error())
                || place.connection.sender.is_closed() && is_idempotent;
            match failed.take_message() {
                Some(unsent) => request = unsent.map(SentBody::into_inner),
                None if is_bare && may_repeat => {
                    request = repeated();
                    bring_into_http2(&mut request).map_err(LocalError::Target)?;
                }
                None => return Err(failed.into_error().into()),
            }
            self.retire(&place.connection);
        }
        let mut place = self.new_place(upstream).await?;
        let sent = place.send(request).await;
        let response = sent.map_err(TrySendError::into_error)?;
        Ok((response, place))
    }

    /// A place on a connection that is open.
    fn place(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open();
        open.retain(|connection| !connection.sender.is_closed());
        open.iter().find_map(|connection| self.place_on(connection))
    }

    fn place_on(self: &Arc<Self>, connection: &Arc<Connection>) -> Option<Place> {
        let taken = Arc::clone(&connection.places).try_acquire_owned().ok()?;
        Some(Place {
            connection: Arc::clone(connection),
            connections: Arc::clone(self),
            _taken: taken,
            since: Instant::now(),
            heard: connection.heard.load(Ordering::Relaxed),
            answered: false,
        })
    }

    /// A place on a new connection. Calls that come together wait for the same one.
    async fn new_place(self: &Arc<Self>, upstream: &Upstream) -> Result<Place, LocalError> {
        loop {
            let opened = self.connection(upstream).await;
            let connection = opened
                .map_err(|error| LocalError::Unreachable(io::Error::new(error.kind(), error)))?;
            if let Some(place) = self.place_on(&connection) {
                return Ok(place);
            }
        }
    }

    fn connection(self: &Arc<Self>, upstream: &Upstream) -> Shared<Opening> {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let waited_for = opening.as_ref().and_then(WeakShared::upgrade);
        if let Some(waited_for) = waited_for.filter(|opening| opening.peek().is_none()) {
            return waited_for;
        }
        let (connections, upstream) = (Arc::clone(self), upstream.clone());
        let connection = async move {
            let connection = Arc::new(Connection::open(&upstream).await?);
            connections.open().push(Arc::clone(&connection));
            Ok(connection)
        };
        let connection = connection.boxed().shared();
        *opening = connection.downgrade();
        connection
    }

    /// Gives no more calls to a connection. It closes when it has none.
    fn retire(&self, retired: &Arc<Connection>) {
        self.open()
            .retain(|connection| !Arc::ptr_eq(connection, retired));
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn open(upstream: &Upstream) -> io::Result<Self> {
        let Opened { stream, serving } = upstream.open(Version::HTTP_2).await?;
        let (tasks, over) = Tasks::new();
        let (sender, connection) = Builder::new(tasks.clone())
            .max_header_list_size(HEAD)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(CALLS * WINDOW)
            .max_send_buf_size(WINDOW as usize)
            // Until it has said how many it allows.
            .initial_max_send_streams(1)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tasks.execute(async {
            // Whoever waits for a response hears of the error; an idle connection may end.
            let (ended, _) = tokio::join!(connection, serving);
            ended.ok();
        });
        Ok(Self {
            sender,
            places: Arc::new(Semaphore::new(CALLS as usize)),
            heard: AtomicUsize::new(0),
            _over: over,
        })
    }

    fn calls(&self) -> usize {
        CALLS as usize - self.places.available_permits()
    }
}

impl Place {
    async fn send(
        &mut self,
        request: Request<TunnelBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<SentBody<TunnelBody>>>> {
        let mut sender = self.connection.sender.clone();
        let sent = sender.try_send_request(request.map(SentBody::new)).await;
        self.answered = true;
        self.connection.heard.fetch_add(1, Ordering::Relaxed);
        sent
    }

    /// Whether the connection may be dead: the call was given up, and nothing came to any other
    /// meanwhile. A ping would tell, but some gRPC servers take pings for an attack.
    fn is_doubtful(&self) -> bool {
        let heard = self.connection.heard.load(Ordering::Relaxed);
        !self.answered && self.heard == heard && self.since.elapsed() >= DOUBTFUL
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let last = self.connection.calls() == 1;
        if self.is_doubtful() || last && self.connections.open().len() > 1 {
            self.connections.retire(&self.connection);
        }
    }
}

/// Writes a request as HTTP/2 has it: its Host is the authority (RFC 9113, section 8.3.1). Fields
/// that speak of the connection do not come over a tunnel.
fn bring_into_http2(request: &mut Request<TunnelBody>) -> Result<(), http::Error> {
    let host = request.headers_mut().remove(HOST);
    let host = host.as_ref().map_or(&b""[..], |host| host.as_bytes());
    let mut target = std::mem::take(request.uri_mut()).into_parts();
    target.scheme = Some(Scheme::HTTP);
    target.authority = Some(Authority::try_from(host)?);
    *request.uri_mut() = Uri::from_parts(target)?;
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

/// Whether the local server says that it did nothing with a request: it refused its stream, or closes
/// the connection and took no stream so late (RFC 9113, sections 6.8 and 8.7).
fn is_untouched(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|source| source.downcast_ref());
    error.is_some_and(|error: &h2::Error| {
        error.reason() == Some(Reason::REFUSED_STREAM) && error.is_reset()
            || error.reason() == Some(Reason::NO_ERROR) && error.is_go_away()
    })
}

/// Calls at a time on one connection: what a server should allow at least (RFC 9113, section
/// 6.5.2). Further ones get another connection. Where the server allows less, the rest wait for
/// those that run: the library does not tell how many it allows.
const CALLS: u32 = 100;

/// Bytes of a response that may be unread, and of a request that may be unsent: a frame of data. The
/// connection has the windows of all its calls, since one that stalls must not hold up the others.
const WINDOW: u32 = 64 << 10;

/// Bytes of a response's fields, as much as is taken in HTTP/1.
const HEAD: u32 = 400 << 10;

/// How long a call must have waited to say anything about its connection.
const DOUBTFUL: Duration = Duration::from_secs(1);
