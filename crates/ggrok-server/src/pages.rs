//! The pages that a relay of its own has beside the visitors' apps.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Json, Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use ggrok_protocol::REGISTER_PATH;
use http::HeaderMap;
use http::header::ACCEPT;
use serde::Serialize;

use crate::access::given_token;
use crate::api::caller;
use crate::app::App;
use crate::error::RelayError;
use crate::metrics::Desk;
use crate::{gate, hosts, mirrors, operator, register};

/// Whether a path is the relay's own. All others are the app's.
pub(crate) fn is_page(path: &str) -> bool {
    let ours = path.strip_prefix(PAGES);
    path == REGISTER_PATH || ours.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where the relay's own pages are.
const PAGES: &str = "/_ggrok";

/// The routes of the relay's own pages.
pub(crate) fn router(app: Arc<App>) -> Router {
    let apis = mirrors::router(Arc::clone(&app))
        .merge(hosts::router(Arc::clone(&app)))
        .merge(gate::api::router(Arc::clone(&app)));
    Router::new()
        .route(REGISTER_PATH, any(register::host))
        .route(&format!("{PAGES}/health"), get(health))
        .route(&format!("{PAGES}/ready"), get(operator::ready))
        .route(&format!("{PAGES}/metrics"), get(operator::metrics))
        .nest(PAGES, apis.with_state(()))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_page)
        .with_state(app)
}

/// The relay's health. Only owners see more than the status.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(flatten)]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    version: &'static str,
    tunnels: usize,
}

/// Answers 200 whatever token is given: a probe must not fail for a wrong one.
async fn health(State(app): State<Arc<App>>, request: Request) -> Json<Health> {
    let (mut head, _) = request.into_parts();
    // A probe without a token does not wait for the access control.
    let may_ask = app.config.access.is_open() || given_token(&head.headers).is_some();
    let is_owner = may_ask && caller(&app, &mut head).await.is_ok();
    let details = is_owner.then(|| Details {
        version: env!("CARGO_PKG_VERSION"),
        tunnels: app.registry.live(),
    });
    Json(Health {
        status: "ok",
        details,
    })
}

async fn unknown_page(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    app.refuse(Desk::Api, &RelayError::UnknownPage, headers.get(ACCEPT))
}

async fn method_not_allowed(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    // The router says which it has.
    app.refuse(Desk::Api, &RelayError::PageMethod, headers.get(ACCEPT))
}
