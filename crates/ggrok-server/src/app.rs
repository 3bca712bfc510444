//! What the relay's parts share, and its own pages.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Json, State};
use axum::response::Response;
use axum::routing::{any, get};
use ggrok_protocol::REGISTER_PATH;
use http::HeaderMap;
use http::header::ACCEPT;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::error::RelayError;
use crate::registry::Registry;
use crate::{Config, register};

/// What the handlers share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    /// Until when requests wait for their clients.
    pub(crate) settled: Instant,
    /// Owns the task of every tunnel.
    pub(crate) tunnels: TaskTracker,
    /// Owns the task of every upgraded connection. It ends with its tunnel.
    pub(crate) upgrades: TaskTracker,
}

impl App {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            registry: Registry::new(config.tunnels),
            settled: Instant::now() + config.settling_time,
            config,
            tunnels: TaskTracker::new(),
            upgrades: TaskTracker::new(),
        }
    }
}

/// Whether a path is the relay's own. All others are the app's.
pub(crate) fn is_page(path: &str) -> bool {
    let ours = path.strip_prefix(PAGES);
    path == REGISTER_PATH || ours.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where the relay's own pages are.
const PAGES: &str = "/_ggrok";

/// The routes of the relay's own pages.
pub(crate) fn pages(app: Arc<App>) -> Router {
    Router::new()
        .route(REGISTER_PATH, any(register::register))
        .route(&format!("{PAGES}/health"), get(health))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(unknown_page)
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
