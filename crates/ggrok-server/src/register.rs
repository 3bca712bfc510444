//! A client's WebSocket: let in, registered, kept until it ends.

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, State, WebSocketUpgrade};
use axum::response::Response;
use ggrok_protocol::{Dialect, Session, open};
use http::HeaderMap;
use http::header::ACCEPT;
use tracing::Instrument;

use crate::app::App;
use crate::error::RelayError;
use crate::registry::Registration;
use crate::socket::Socket;
use crate::visitor::Visit;

/// Answers a client's WebSocket handshake, and keeps its tunnel from then on.
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    admit(&app, &visit, &headers, upgrade).unwrap_or_else(|error| {
        tracing::warn!(host = %visit.host, peer = %visit.peer, %error, "refused a client");
        error.response(headers.get(ACCEPT))
    })
}

/// Registers a client that may have the host, before its handshake is answered: then a refusal is
/// an HTTP answer, and whoever the client tells of its address finds it there.
fn admit(
    app: &App,
    visit: &Visit,
    headers: &HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, RelayError> {
    app.config.access.admit(headers)?;
    let upgrade = upgrade.map_err(|_| RelayError::NotWebSocket)?;
    let (tunnel, session) = open(Dialect::Ggrok, app.config.limits);
    let registration = app.registry.insert(visit.host.clone(), tunnel)?;

    let span = tracing::info_span!("tunnel", host = %visit.host, id = registration.id());
    span.in_scope(|| tracing::info!(peer = %visit.peer, "a client registered"));
    let owned = app.tunnels.token();
    let limit = app.config.limits.response_message();
    let response = upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| async move {
            keep(session, Socket::new(socket), registration)
                .instrument(span)
                .await;
            drop(owned);
        });
    Ok(response)
}

async fn keep(session: Session, socket: Socket, registration: Registration) {
    match session.run(socket).await {
        Ok(ending) => tracing::info!(reason = ending.reason(), "a client left"),
        Err(error) => tracing::warn!(%error, "a client was lost"),
    }
    drop(registration);
}

/// A tunnel that is idle holds this buffer, and the WebSocket library clears it before each read.
const READ_BUFFER: usize = 32 << 10;
