//! A visitor's connection that becomes another protocol's, a WebSocket's above all.

use axum::body::Body;
use axum::response::Response;
use ggrok_protocol::{socket_body, splice};
use http::{Request, StatusCode, request};
use hyper_util::rt::TokioIo;

use crate::Tunnel;
use crate::app::App;
use crate::error::RelayError;

/// Calls for an upgrade. Where the app grants it, the visitor's connection and the tunnel are
/// spliced; else its response is like any other.
pub(crate) async fn call(
    app: &App,
    tunnel: &Tunnel,
    head: request::Parts,
    request: &mut Request<Body>,
) -> Result<Response, RelayError> {
    let upgraded = hyper::upgrade::on(request);
    let (feed, body) = socket_body();
    let response = tunnel.send(head, body).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response.map(Body::new));
    }
    let (head, body) = response.into_parts();
    app.upgrades.spawn(async move {
        match upgraded.await {
            Ok(visitor) => splice(TokioIo::new(visitor), feed, body).await,
            Err(error) => tracing::debug!(%error, "the visitor left before its upgrade"),
        }
    });
    Ok(Response::from_parts(head, Body::empty()))
}
