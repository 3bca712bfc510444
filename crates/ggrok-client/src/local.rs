//! The local server, or the service in its place: every request is replayed against it as it came.

mod body;
mod error;
mod framing;
mod http2;
mod in_pieces;
mod origin;
mod pool;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt;
use futures_util::future::Either;
use ggrok_protocol::{
    Dialect, ERROR_HEADER, Flush, FlushedBody, TunnelBody, fits_response, remove_hop_by_hop,
};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

pub(crate) use self::body::LocalBody;
pub(crate) use self::error::LocalError;
use self::http2::Connections;
use self::in_pieces::{InPieces, Start};
pub(crate) use self::origin::{OwnOrigin, PublicOrigin};
pub(crate) use self::pool::Connection;
use self::pool::Pool;
use crate::upgrade::Switched;
use crate::upstream::Opened;
use crate::{Config, Upstream};

/// The local server that a client stands for, or the service in its place. It is fixed: nothing in a
/// request changes where that goes.
pub(crate) struct Local {
    upstream: Upstream,
    /// How long it may take until its response starts.
    patience: Duration,
    /// What it is told of itself, where that is not what visitors see.
    own_origin: Option<OwnOrigin>,
    pool: Arc<Pool>,
    /// Where it is spoken to in HTTP/2.
    http2: Option<Arc<Connections>>,
}

/// Gives a request once more, without its body.
type Repeated<'a> = dyn Fn() -> Request<TunnelBody> + Sync + 'a;

/// What the local server replied.
pub(crate) enum Replied {
    Response(Response<LocalBody>),
    Upgrade(Switched),
}

impl Replied {
    fn headers_mut(&mut self) -> &mut HeaderMap {
        match self {
            Self::Response(response) => response.headers_mut(),
            Self::Upgrade(switched) => switched.response.headers_mut(),
        }
    }
}

impl Local {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            upstream: config.upstream.clone(),
            patience: config.local_timeout,
            own_origin: OwnOrigin::of(config),
            pool: Arc::default(),
            http2: config.local_http2.then(Arc::default),
        }
    }

    pub(crate) const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Closes connections that have been idle for too long, for as long as it is awaited.
    pub(crate) async fn close_idle(&self) -> Infallible {
        self.pool.close_idle().await
    }

    /// Replays a request. Where the local server is told another host than the public one, fields
    /// that name an origin are rewritten, both ways. `again` gives the request's head a second time.
    pub(crate) async fn call(
        &self,
        mut request: Box<Request<TunnelBody>>,
        dialect: Dialect,
        again: impl Fn() -> Request<()> + Sync,
    ) -> Result<Replied, LocalError> {
        let public = self.address(&mut request, dialect);
        let repeated = || {
            let mut request = again().map(|()| TunnelBody::empty());
            self.address(&mut request, dialect);
            request
        };
        let mut replied = self.replay(request, dialect, &repeated).await?;
        if !fits_response(replied.headers_mut()) {
            return Err(LocalError::HeadTooLarge);
        }
        if let (Some(own_origin), Some(public)) = (&self.own_origin, public) {
            own_origin.show(&public, replied.headers_mut());
        }
        Ok(replied)
    }

    /// Makes a request the local server's, and returns the origin at which its visitor sees that.
    fn address<B>(&self, request: &mut Request<B>, dialect: Dialect) -> Option<PublicOrigin> {
        if dialect != Dialect::V2 {
            remove_ambiguous(request.headers_mut());
        }
        *request.version_mut() = Version::HTTP_11;
        let own_origin = self.own_origin.as_ref();
        let public = own_origin.and_then(|own| own.tell(request.headers_mut()));
        if !request.headers().contains_key(HOST) {
            let host = HeaderValue::from_str(self.upstream.authority());
            let host = host.expect("an authority is a valid value");
            request.headers_mut().insert(HOST, host);
        }
        public
    }

    /// Replays a request: its method, target, fields and body as they came, on a connection that
    /// may have been used before. No redirect is followed, nothing is decoded or added. An upgrade,
    /// which HTTP/2 has not, is asked for in HTTP/1.1 in any case.
    async fn replay(
        &self,
        request: Box<Request<TunnelBody>>,
        dialect: Dialect,
        repeated: &Repeated<'_>,
    ) -> Result<Replied, LocalError> {
        // What most calls do not need lies in a box: each keeps the room of the largest.
        if request.headers().contains_key(UPGRADE) {
            return Box::pin(self.upgrade(request)).await;
        }
        let response = match dialect {
            Dialect::Ggrok | Dialect::MagicMirror => {
                timeout(self.patience, Box::pin(self.send(request, repeated)))
                    .await
                    .map_err(|_| LocalError::TimedOut)??
            }
            _ => self.send(request, repeated).await?,
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(LocalError::Invalid("it switches protocols unasked"));
        }
        Ok(Replied::Response(onward(response)))
    }

    /// Asks for an upgrade, on a connection of its own. The request's body is what the visitor will
    /// send over it.
    async fn upgrade(&self, request: Box<Request<TunnelBody>>) -> Result<Replied, LocalError> {
        let (mut head, visitor) = request.into_parts();
        // It has no body. A local server that was told of one would read it out of the next request
        // on this connection.
        head.headers.remove(CONTENT_LENGTH);
        let request = Request::from_parts(head, TunnelBody::empty());
        let mut connection = self.connect().await?;
        let sent = connection.send(request).await;
        let mut response = sent.map_err(|failed| connection.failure(failed.into_error()))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let response = self.pooled(response, connection)?;
            return Ok(Replied::Response(onward(response)));
        }
        let upgraded = hyper::upgrade::on(&mut response).await;
        Ok(Replied::Upgrade(Switched {
            connection: upgraded.map_err(LocalError::Broken)?,
            keeper: connection,
            response: response.map(drop),
            visitor,
        }))
    }

    /// The response of a connection that goes back to the pool, or is closed where the two ends may
    /// disagree on where the response ends.
    fn pooled(
        &self,
        mut response: Response<Incoming>,
        connection: Connection,
    ) -> Result<Response<LocalBody>, LocalError> {
        framing::settle(response.headers_mut()).map_err(LocalError::Invalid)?;
        let pool = (!closes(response.headers())).then(|| Arc::clone(&self.pool));
        Ok(response.map(|body| LocalBody::new(body, connection, pool)))
    }

    fn send(
        &self,
        request: Box<Request<TunnelBody>>,
        repeated: &Repeated<'_>,
    ) -> impl Future<Output = Result<Response<LocalBody>, LocalError>> {
        let Some(connections) = &self.http2 else {
            return Either::Left(self.send_http1(request, repeated));
        };
        let sent = connections.send(*request, &self.upstream, repeated);
        Either::Right(
            Box::pin(sent)
                .map_ok(|(response, place)| response.map(|body| LocalBody::shared(body, place))),
        )
    }

    /// Sends a request on an idle connection, and on a new one where there is none or the local
    /// server has just closed it. A request that may have been seen is sent again only where that
    /// does no harm (RFC 9110, section 9.2.2); any other never takes a connection that may be closing.
    async fn send_http1(
        &self,
        mut request: Box<Request<TunnelBody>>,
        repeated: &Repeated<'_>,
    ) -> Result<Response<LocalBody>, LocalError> {
        frame(&mut request);
        let may_repeat = request.body().is_end_stream() && is_idempotent(&request);
        if let Some(mut connection) = self.pool.take(may_repeat).await {
            match connection.send(*request).await {
                Ok(response) => return self.pooled(response, connection),
                // What cannot be parsed is an answer all the same.
                Err(failed) if failed.error().is_parse() => {
                    return Err(failed.into_error().into());
                }
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => *request = unsent.map(FlushedBody::into_inner),
                    None if may_repeat => {
                        *request = repeated();
                        frame(&mut request);
                    }
                    None => return Err(failed.into_error().into()),
                },
            }
        }
        let mut connection = Box::pin(self.connect()).await?;
        let sent = connection.send(*request).await;
        let response = sent.map_err(|failed| connection.failure(failed.into_error()))?;
        self.pooled(response, connection)
    }

    async fn connect(&self) -> Result<Connection, LocalError> {
        let opened = self.upstream.open(Version::HTTP_11).await;
        let Opened { stream, serving } = opened.map_err(LocalError::Unreachable)?;
        let flush = Flush::default();
        let start = Start::default();
        let stream = InPieces::new(stream, flush.clone(), start.clone());
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_FIELDS)
            // It is removed (RFC 9112, section 5.1).
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(LocalError::Broken)?;
        let task = tokio::spawn(async move {
            // Whoever waits for the response hears of the error; an idle connection may end.
            let (ended, _) = tokio::join!(connection.with_upgrades(), serving);
            ended.ok();
        });
        Ok(Connection::new(sender, flush, start, task.abort_handle()))
    }
}

/// The response as it goes to the visitor.
fn onward(mut response: Response<LocalBody>) -> Response<LocalBody> {
    remove_hop_by_hop(response.headers_mut());
    // It tells our own answers from the app's, so the app cannot set it.
    response.headers_mut().remove(ERROR_HEADER);
    response
}

/// Whether the local server closes the connection after a response (RFC 9112, section 9.6).
fn closes(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| {
        let mut options = value.as_bytes().split(|byte| *byte == b',');
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
    })
}

/// Adds what the next hop has to know of how the request is sent.
fn frame(request: &mut Request<TunnelBody>) {
    let streamed = !request.body().is_end_stream();
    let headers = request.headers_mut();
    if streamed && !headers.contains_key(CONTENT_LENGTH) {
        // hyper would drop the body of a GET or a HEAD.
        let chunked = HeaderValue::from_static("chunked");
        headers.insert(TRANSFER_ENCODING, chunked);
    }
    if headers.contains_key(TE) {
        // RFC 9110, section 10.1.4.
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Removes fields with `_` in their names, which many servers take for `-`. Our relay does so itself, the
/// original ones do not.
fn remove_ambiguous(fields: &mut HeaderMap) {
    // A name without a letter or digit is no other field's.
    let is_ambiguous = |name: &&HeaderName| {
        let name = name.as_str();
        name.contains('_') && name.contains(|symbol: char| symbol.is_ascii_alphanumeric())
    };
    let names: Vec<HeaderName> = fields.keys().filter(is_ambiguous).cloned().collect();
    for name in names {
        fields.remove(name);
    }
}

/// Whether a request may reach the local server twice (RFC 9110, section 9.2.2).
fn is_idempotent<B>(request: &Request<B>) -> bool {
    use Method as M;
    matches!(
        *request.method(),
        M::GET | M::HEAD | M::OPTIONS | M::PUT | M::DELETE
    )
}

/// Fields that a response may have. The library's own limit is 100, and some apps set more cookies.
const MAX_FIELDS: usize = 500;
