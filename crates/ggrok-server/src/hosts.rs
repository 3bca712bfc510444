//! The API by which owners list their hosts and give them free, and the operator everybody's.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Json, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use http::StatusCode;
use serde::Serialize;

use crate::Tunnel;
use crate::api::{answer, time};
use crate::app::App;
use crate::error::RelayError;
use crate::log_limit::log_within;
use crate::registry::Held;

/// The routes of hosts.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/hosts", get(list))
        .route("/hosts/{host}", delete(release))
        .with_state(app)
}

/// A host as the API describes it: of a client that is away the relay knows no more than whose it is.
#[derive(Serialize)]
struct Description {
    host: String,
    owner: String,
    online: bool,
    /// The name of the mirror, where it is one's that is public.
    name: Option<String>,
    dialect: Option<String>,
    /// Where its client connected from.
    peer: Option<String>,
    connected_since: Option<String>,
    last_seen: Option<String>,
    calls: Option<u64>,
}

impl Description {
    fn of(held: &Held) -> Self {
        let tunnel = held.tunnel.as_ref();
        Self {
            host: held.host.to_string(),
            owner: held.owner.as_str().to_owned(),
            online: tunnel.is_some(),
            name: tunnel.and_then(Tunnel::name).map(ToString::to_string),
            dialect: tunnel.map(|tunnel| tunnel.dialect().to_string()),
            peer: tunnel.and_then(Tunnel::peer).map(|peer| peer.to_string()),
            connected_since: tunnel.map(|tunnel| time(tunnel.connected_since())),
            last_seen: tunnel.map(|tunnel| time(tunnel.last_seen())),
            calls: tunnel.map(Tunnel::calls),
        }
    }
}

async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, request, async |app, grant, _| {
        let hosts = app.registry.hosts(grant.oversees());
        let described: Vec<Description> = hosts.iter().map(Description::of).collect();
        Ok(Json(described).into_response())
    })
    .await
}

/// Closes the tunnel of a host, where there is one, and gives the host free.
async fn release(
    State(app): State<Arc<App>>,
    host: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    answer(app, request, async |app, grant, _| {
        // What can be no host is nobody's either.
        let host = host.ok().and_then(|Path(host)| host.parse().ok());
        let host = host.ok_or(RelayError::UnknownHost)?;
        let released = app.registry.release(&host, grant.oversees());
        let owner = released.ok_or(RelayError::UnknownHost)?;
        log_within!(app.log.changes, info, %host, %owner, by = %grant.owner(), "a host was given free");
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
