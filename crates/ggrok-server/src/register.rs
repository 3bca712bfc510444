//! A client's WebSocket: let in, registered, kept until it ends.

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, State, WebSocketUpgrade};
use axum::response::Response;
use ggrok_protocol::{Dialect, Session, Tunnel, open};
use http::HeaderMap;
use http::header::{ACCEPT, ORIGIN};
use tracing::Instrument;

use crate::app::App;
use crate::error::RelayError;
use crate::host::Host;
use crate::registry::{Registration, Registry};
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

/// Registers a client that may have the host, before its handshake is answered where nobody has it:
/// then a refusal is an HTTP answer, and whoever the client tells of its address finds it there.
/// Where somebody has it, only a client whose handshake is complete takes it over.
fn admit(
    app: &Arc<App>,
    visit: &Visit,
    headers: &HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, RelayError> {
    // A page in somebody's browser must not become a client of a relay that this browser reaches.
    if headers.contains_key(ORIGIN) {
        return Err(RelayError::FromPage);
    }
    app.config.access.admit(headers)?;
    let upgrade = upgrade.map_err(|_| RelayError::NotWebSocket)?;
    let offers = Dialect::ALL
        .iter()
        .filter_map(|dialect| dialect.subprotocol());
    let upgrade = upgrade.protocols(offers);
    let dialect = Dialect::chosen(upgrade.selected_protocol(), Dialect::Ggrok);
    let (tunnel, session) = open(dialect, app.config.limits);
    let host = visit.host.clone();
    let mut place = Place::Wanted(tunnel);
    if !app.registry.is_taken(&host) {
        place = place.take(&app.registry, &host)?;
    }

    let span = tracing::info_span!("tunnel", %host, %dialect, peer = %visit.peer);
    let (app, owned) = (Arc::clone(app), app.tunnels.token());
    let limit = app.config.limits.response_message(dialect);
    let response = upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| {
            let keeping = async move {
                match place.take(&app.registry, &host) {
                    Ok(place) => keep(session, Socket::new(socket), place).await,
                    Err(error) => tracing::warn!(%error, "refused a client"),
                }
                drop(owned);
            };
            keeping.instrument(span)
        });
    Ok(response)
}

/// A client's place in the registry.
enum Place {
    Wanted(Tunnel),
    Taken { _registration: Registration },
}

impl Place {
    fn take(self, registry: &Registry, host: &Host) -> Result<Self, RelayError> {
        match self {
            Self::Wanted(tunnel) => Ok(Self::Taken {
                _registration: registry.insert(host.clone(), tunnel)?,
            }),
            taken @ Self::Taken { .. } => Ok(taken),
        }
    }
}

async fn keep(session: Session, socket: Socket, place: Place) {
    tracing::info!("a client registered");
    match session.run(socket).await {
        Ok(ending) => tracing::info!(reason = ending.reason(), "a client left"),
        Err(error) => tracing::warn!(%error, "a client was lost"),
    }
    drop(place);
}

/// A tunnel that is idle holds this buffer, and the WebSocket library clears it before each read.
const READ_BUFFER: usize = 32 << 10;
