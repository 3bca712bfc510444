//! The routes of the relay.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Json, State};
use axum::response::Response;
use axum::routing::{any, get};
use ggrok_protocol::REGISTER_PATH;
use http::HeaderMap;
use http::header::ACCEPT;
use serde::Serialize;
use tokio_util::task::TaskTracker;

use crate::error::RelayError;
use crate::registry::Registry;
use crate::{Config, register, relay};

/// What the handlers share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    /// Owns the task of every tunnel.
    pub(crate) tunnels: TaskTracker,
}

impl App {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            registry: Registry::new(config.tunnels),
            config,
            tunnels: TaskTracker::new(),
        }
    }
}

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route(REGISTER_PATH, any(register::register))
        .route("/_ggrok/health", get(health))
        .route("/_ggrok/{*page}", any(unknown_page))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(relay::relay)
        .with_state(app)
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    tunnels: usize,
}

async fn health(State(app): State<Arc<App>>) -> Json<Health> {
    Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        tunnels: app.registry.live(),
    })
}

async fn unknown_page(headers: HeaderMap) -> Response {
    RelayError::UnknownPage.response(headers.get(ACCEPT))
}

async fn method_not_allowed(headers: HeaderMap) -> Response {
    RelayError::Method.response(headers.get(ACCEPT))
}
