//! A visitor's request, called through the tunnel of its host.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use ggrok_protocol::{CallError, remove_hop_by_hop, requested_upgrade};
use http::header::{ACCEPT, CONNECTION, EXPECT, HeaderValue, UPGRADE};
use http::{Request, request};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::app::App;
use crate::error::RelayError;
use crate::forwarded::Forwarded;
use crate::lent::lend;
use crate::upgrade;
use crate::visitor::Visit;

/// Answers a visitor's request with the app's response, or with the reason why there is none.
pub(crate) async fn relay(app: &App, visit: &Visit, mut request: Request<Body>) -> Response {
    let accept = request.headers().get(ACCEPT).cloned();
    let awaits_continue = request.headers().contains_key(EXPECT);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let path = uri.path();
    match call(app, visit, &mut request).await {
        Ok(response) => {
            let status = response.status().as_u16();
            tracing::debug!(host = %visit.host, %method, path, status, "answered a call");
            response
        }
        Err(error) => {
            tracing::debug!(host = %visit.host, %method, path, %error, "refused a call");
            // One that awaits a 100 has sent nothing, and one that stalled will send nothing.
            let stalled = matches!(error, RelayError::Call(CallError::BodyStalled));
            if !(stalled || awaits_continue) {
                discard(request.into_body()).await;
            }
            error.response(accept.as_ref())
        }
    }
}

/// Calls through the tunnel of the host. Where there is no response, the request's body is back; its
/// fields are gone.
async fn call(
    app: &App,
    visit: &Visit,
    request: &mut Request<Body>,
) -> Result<Response, RelayError> {
    let tunnel = app.registry.tunnel_by(&visit.host, app.settled).await?;
    let head = head(request, visit, app.config.trusted_hops);
    if head.headers.contains_key(UPGRADE) {
        return upgrade::call(app, &tunnel, head, request).await;
    }
    let (body, returned) = lend(std::mem::take(request.body_mut()));
    match tunnel.call(Request::from_parts(head, body)).await {
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
fn head(request: &mut Request<Body>, visit: &Visit, trusted_hops: usize) -> request::Parts {
    let mut onward = Request::new(());
    *onward.method_mut() = request.method().clone();
    *onward.uri_mut() = request.uri().clone();
    *onward.version_mut() = request.version();
    *onward.headers_mut() = std::mem::take(request.headers_mut());
    let (mut head, ()) = onward.into_parts();
    let upgrade = requested_upgrade(&head).cloned();
    // Read before and set after the removal, or a visitor could name these fields in Connection
    // and so have them removed.
    let forwarded = Forwarded::of(&head.headers, visit.peer, trusted_hops);
    remove_hop_by_hop(&mut head.headers);
    forwarded.set(&mut head.headers);
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
