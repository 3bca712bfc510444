//! A visitor's request, called through the tunnel of its host.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::Response;
use ggrok_protocol::{TunnelBody, remove_hop_by_hop, requested_upgrade};
use http::header::{ACCEPT, CONNECTION, EXPECT, HeaderValue, UPGRADE};
use http::{Request, request};
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::app::App;
use crate::error::RelayError;
use crate::forwarded::Forwarded;
use crate::visitor::Visit;

/// Answers a visitor's request with the app's response, or with the reason why there is none.
pub(crate) async fn relay(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Visit>,
    request: Request<Body>,
) -> Response {
    let (head, mut body) = request.into_parts();
    let accept = head.headers.get(ACCEPT).cloned();
    let awaits_continue = head.headers.contains_key(EXPECT);
    let (method, path) = (head.method.clone(), head.uri.path().to_owned());
    match call(&app, &visit, head, &mut body).await {
        Ok(response) => {
            let status = response.status().as_u16();
            tracing::debug!(host = %visit.host, %method, path, status, "answered a call");
            response.map(Body::new)
        }
        Err(error) => {
            tracing::debug!(host = %visit.host, %method, path, %error, "refused a call");
            if !awaits_continue {
                discard(body).await;
            }
            error.response(accept.as_ref())
        }
    }
}

async fn call(
    app: &App,
    visit: &Visit,
    mut head: request::Parts,
    body: &mut Body,
) -> Result<http::Response<TunnelBody>, RelayError> {
    let tunnel = app.registry.tunnel(&visit.host)?;
    let upgrade = requested_upgrade(&head).cloned();
    // Read before and set after the removal, or a visitor could name these fields in Connection
    // and so have them removed.
    let forwarded = Forwarded::of(&head.headers, visit.peer, app.config.trusted_hops);
    remove_hop_by_hop(&mut head.headers);
    forwarded.set(&mut head.headers);
    if let Some(protocol) = upgrade {
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, protocol);
    }
    Ok(tunnel.call(Request::from_parts(head, body)).await?)
}

/// Reads on, within bounds, what a visitor still sends. Closing on it would make its system throw
/// the answer away unread (RFC 9112, section 9.6). One that awaits a 100 has sent nothing.
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
