//! The pages for whoever runs the relay: metrics, health, readiness. They can have a port of their own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower_service::Service;

use crate::Metrics;
use crate::app::App;
use crate::error::RelayError;
use crate::metrics::Desk;

/// Serves a relay's metrics on a port of their own, with health and readiness, until it is dropped. It
/// asks for no token: the address has to be one that visitors do not reach. It goes on while the relay
/// stops.
pub async fn serve_metrics(listener: TcpListener, metrics: Metrics) -> Infallible {
    let pages = router(metrics);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, pages.clone()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

fn router(metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(exposition))
        .route("/_ggrok/metrics", get(exposition))
        .route("/_ggrok/health", get(|| async { "ok\n" }))
        .route("/_ggrok/ready", get(readiness))
        .with_state(metrics)
}

async fn serve(stream: TcpStream, pages: Router) {
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut pages = pages.clone();
        async move { pages.call(request).await }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // Whoever scrapes connects again.
    timeout(LIFE, connection).await.ok();
}

async fn exposition(State(metrics): State<Metrics>) -> Response {
    let fields = [
        (CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    (fields, metrics.text()).into_response()
}

async fn readiness(State(metrics): State<Metrics>) -> Response {
    if metrics.counts().ready.get() == 1 {
        return ([(CACHE_CONTROL, "no-store")], "ready\n").into_response();
    }
    let fields = [(CACHE_CONTROL, "no-store"), (RETRY_AFTER, "5")];
    (StatusCode::SERVICE_UNAVAILABLE, fields, "stopping\n").into_response()
}

/// Whether the relay takes new tunnels and visitors.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    readiness(State(app.config.metrics.clone())).await
}

/// The metrics, for whoever may read them. Where nobody may, there is no such page.
pub(crate) async fn metrics(State(app): State<Arc<App>>, request: Request) -> Response {
    let (mut head, _) = request.into_parts();
    let accept = head.headers.get(http::header::ACCEPT).cloned();
    let granted = match &app.config.metrics_access {
        Some(access) => app.authenticate(access, &mut head).await.map(drop),
        None => Err(RelayError::UnknownPage),
    };
    match granted {
        Ok(()) => exposition(State(app.config.metrics.clone())).await,
        Err(error) => app.refuse(Desk::Api, &error, accept.as_ref()),
    }
}

/// Connections at a time. More than one scraper is rare.
const CONNECTIONS: usize = 32;

/// How long a request head may take, and the next request may let wait: longer than a scraper's pause.
const IDLE: Duration = Duration::from_secs(120);

/// How long one connection may last.
const LIFE: Duration = Duration::from_secs(3600);

/// Bytes that are read ahead: the least that hyper can work with is enough.
const HEAD: usize = 16 << 10;

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
