//! A request, called through the tunnel of its place.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use ggrok_protocol::{CallError, remove_hop_by_hop, requested_upgrade};
use http::header::{ACCEPT, CONNECTION, EXPECT, HOST, HeaderValue, UPGRADE};
use http::{Request, Version, request};
use http_body_util::BodyExt;
use tokio::time::timeout;
use tracing::Instrument;

use crate::Config;
use crate::access::TOKEN_HEADER;
use crate::app::App;
use crate::error::RelayError;
use crate::forwarded::Forwarded;
use crate::lent::lend;
use crate::place::Place;
use crate::request_id::RequestId;
use crate::{max_forwards, response, upgrade};

/// Answers a request with the app's response, or with the reason why there is none.
pub(crate) async fn answer(
    app: &App,
    place: &Place,
    peer: Option<IpAddr>,
    mut request: Request<Body>,
) -> Response {
    let told = Told::of(&request);
    let id = RequestId::of(request.headers());
    let (method, path) = (request.method(), request.uri().path());
    let span = tracing::debug_span!("call", %id, %method, path);
    let answering = async {
        match call(app, place, peer, id, &mut request).await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                tracing::debug!(%place, status, "answered a call");
                response::onward(answer)
            }
            Err(error) => {
                tracing::debug!(%place, %error, "refused a call");
                told.refuse(&error, request.into_body()).await
            }
        }
    };
    answering.instrument(span).await
}

/// Answers a request that goes to no tunnel.
pub(crate) async fn refuse(error: &RelayError, request: Request<Body>) -> Response {
    Told::of(&request).refuse(error, request.into_body()).await
}

/// What a request says of how to refuse it.
struct Told {
    accept: Option<HeaderValue>,
    awaits_continue: bool,
}

impl Told {
    fn of(request: &Request<Body>) -> Self {
        Self {
            accept: request.headers().get(ACCEPT).cloned(),
            awaits_continue: request.version() != Version::HTTP_10
                && request.headers().contains_key(EXPECT),
        }
    }

    async fn refuse(self, error: &RelayError, body: Body) -> Response {
        // One that awaits a 100 has sent nothing, and one that stalled will send nothing.
        let stalled = matches!(error, RelayError::Call(CallError::BodyStalled));
        if !(stalled || self.awaits_continue) {
            discard(body).await;
        }
        error.response(self.accept.as_ref())
    }
}

/// Calls through the tunnel of the place. Where there is no response, the request's body is back; its
/// fields are gone.
async fn call(
    app: &App,
    place: &Place,
    peer: Option<IpAddr>,
    id: RequestId,
    request: &mut Request<Body>,
) -> Result<Response, RelayError> {
    if app.config.pseudonym.has_signed(request.headers()) {
        return Err(RelayError::Loop);
    }
    if let Some(answer) = max_forwards::count(request) {
        return Ok(answer);
    }
    let tunnel = app.registry.tunnel_by(place, app.settled).await;
    let tunnel = tunnel.map_err(|why| RelayError::missing(place, why))?;
    let mut head = head(request, peer, id, &app.config);
    if matches!(place, Place::Mirror(..)) {
        // It is the API's. The local server gets its own, which no check of its refuses.
        head.headers.remove(HOST);
    }
    if head.headers.contains_key(UPGRADE) {
        return upgrade::call(app, &tunnel, head, request).await;
    }
    let (body, returned) = lend(std::mem::take(request.body_mut()));
    match tunnel.send(head, body).await {
        Ok(response) => Ok(response.map(Body::new)),
        Err(error) => {
            if let Ok(Ok(body)) = timeout(DISCARD_TIME, returned).await {
                *request.body_mut() = body;
            }
            Err(error.into())
        }
    }
}

/// The head of the request that goes to the app. It takes the fields of the visitor's with it.
fn head(
    request: &mut Request<Body>,
    peer: Option<IpAddr>,
    id: RequestId,
    config: &Config,
) -> request::Parts {
    let mut onward = Request::new(());
    *onward.method_mut() = request.method().clone();
    *onward.uri_mut() = request.uri().clone();
    *onward.version_mut() = request.version();
    *onward.headers_mut() = std::mem::take(request.headers_mut());
    let (mut head, ()) = onward.into_parts();
    let upgrade = requested_upgrade(&head).cloned();
    // Read before and set after the removal, or a visitor could name these fields in Connection
    // and so have them removed.
    let forwarded = Forwarded::of(&head.headers, peer, config.trusted_hops);
    remove_hop_by_hop(&mut head.headers);
    // The relay's own, wherever a program gives it.
    head.headers.remove(TOKEN_HEADER);
    forwarded.set(&mut head.headers);
    config.pseudonym.sign(&mut head.headers, head.version);
    id.set(&mut head.headers);
    if head.version == Version::HTTP_10 {
        // RFC 9110, section 10.1.1: it means nothing there, and nobody waits for a 100.
        head.headers.remove(EXPECT);
    }
    if let Some(protocol) = upgrade {
        let upgrade = HeaderValue::from_static("upgrade");
        head.headers.insert(CONNECTION, upgrade);
        head.headers.insert(UPGRADE, protocol);
    }
    head
}

/// Reads on, within bounds, what a visitor still sends. Closing on it would make its system throw
/// the answer away unread (RFC 9112, section 9.6).
async fn discard(mut body: Body) {
    let reading = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
            let Some(rest) = left.checked_sub(bytes) else {
                return;
            };
            left = rest;
        }
    };
    // Whoever is slower than that gets its answer now, and may miss it.
    timeout(DISCARD_TIME, reading).await.ok();
}

const DISCARD_BYTES: usize = 64 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(5);
