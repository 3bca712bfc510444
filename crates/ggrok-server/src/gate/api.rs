//! The API by which owners make, list and revoke links, and the page that opens one.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Json, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use ggrok_protocol::MirrorName;
use http::header::{ACCEPT, CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::cookie;
use super::shares::{Description, Opens};
use crate::api::answer;
use crate::app::App;
use crate::error::RelayError;
use crate::forwarded;
use crate::host::Host;
use crate::log_limit::log_within;
use crate::metrics::Desk;
use crate::place::Place;
use crate::visitor::Visit;

/// The routes of links.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/shares", get(list).post(make))
        .route("/shares/{id}", delete(revoke))
        .route("/share/{ticket}", get(open))
        .with_state(app)
}

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The host that is shared, and not that of the request.
    host: Option<String>,
    /// The name whose host is shared.
    name: Option<String>,
    path: Option<String>,
    seconds: u64,
    uses: Option<usize>,
}

/// A link as the API describes it.
#[derive(Serialize)]
struct Shown {
    id: String,
    /// Where visitors open it, at this server: told when it is made, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    host: String,
    path: String,
    expires: String,
    uses: Option<usize>,
    used: usize,
    /// Whether the tunnel lets visitors in without a link as well; nothing while its client is away.
    open: Option<bool>,
}

impl Shown {
    fn of(app: &App, link: Description, ticket: Option<&str>) -> Self {
        let tunnel = app.registry.tunnel(&Place::Host(link.host.clone())).ok();
        let is_open = |tunnel: crate::Tunnel| !tunnel.door().is_some_and(|door| door.is_closed());
        Self {
            address: ticket.map(|ticket| format!("//{}/_ggrok/share/{ticket}", link.host)),
            id: link.id,
            host: link.host.to_string(),
            path: link
                .path
                .map_or_else(|| "/".to_owned(), |path| path.to_string()),
            expires: humantime::format_rfc3339_seconds(link.expires).to_string(),
            uses: link.uses,
            used: link.used,
            open: tunnel.map(is_open),
        }
    }
}

async fn make(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, request, async |app, grant, request| {
        let visit: Option<&Visit> = request.extensions().get();
        let own = visit.map(|visit| visit.host.clone());
        let asked = read(request.into_body()).await?;
        let opens = opens(app, asked, own)?;
        let place = Place::Host(opens.host.clone());
        if !app.registry.is_of(&place, grant.owner()) {
            return Err(RelayError::UnknownHost);
        }
        let (ticket, link) = app.gate.shares.make(grant, opens)?;
        log_within!(app.log.changes, info, link = link.id, %place, "a link was made");
        let mut response = (
            StatusCode::CREATED,
            Json(Shown::of(app, link, Some(&ticket))),
        )
            .into_response();
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, no_store);
        Ok(response)
    })
    .await
}

async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, request, async |app, grant, _| {
        let links = app.gate.shares.of(grant.owner()).into_iter();
        let shown: Vec<Shown> = links.map(|link| Shown::of(app, link, None)).collect();
        Ok(Json(shown).into_response())
    })
    .await
}

async fn revoke(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    answer(app, request, async |app, grant, _| {
        if !app.gate.shares.revoke(grant.owner(), &id) {
            return Err(RelayError::UnknownLink);
        }
        log_within!(app.log.changes, info, link = id, "a link was revoked");
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}

/// Gives a visitor its cookie, and sends it on to where the link leads, without the secret.
async fn open(
    State(app): State<Arc<App>>,
    Path(ticket): Path<String>,
    request: Request,
) -> Response {
    let mut request = request;
    let is_secure = forwarded::is_secure(request.headers(), app.config.trusted_hops);
    let crumbs = cookie::take(request.headers_mut());
    let visit: Option<&Visit> = request.extensions().get();
    let opened = visit
        .ok_or(RelayError::LinkOver)
        .and_then(|visit| app.gate.shares.open(&visit.host, &ticket, &crumbs));
    let mut response = match opened {
        Ok(opened) => {
            let mut response = StatusCode::SEE_OTHER.into_response();
            let path = opened.path.as_ref().map_or("/", |path| path.as_str());
            let headers = response.headers_mut();
            if let Ok(path) = HeaderValue::from_str(path) {
                headers.insert(LOCATION, path);
            }
            if let Some(crumb) = opened.crumb {
                headers.insert(SET_COOKIE, crumb.set(opened.left, is_secure));
            }
            response
        }
        Err(error) => app.refuse(Desk::Api, &error, request.headers().get(ACCEPT)),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

async fn read(body: Body) -> Result<Asked, RelayError> {
    let bytes = timeout(PATIENCE, to_bytes(body, MOST_BYTES)).await;
    let bytes = bytes
        .ok()
        .and_then(Result::ok)
        .ok_or(RelayError::BadShare)?;
    serde_json::from_slice(&bytes).map_err(|_| RelayError::BadShare)
}

/// What a link is to open, where it can be.
fn opens(app: &App, asked: Asked, own: Option<Host>) -> Result<Opens, RelayError> {
    let host = match (asked.host, asked.name) {
        (None, None) => own.ok_or(RelayError::BadHost)?,
        (Some(host), None) => host.parse()?,
        (None, Some(name)) => {
            let name: MirrorName = name.parse().map_err(|_| RelayError::BadName)?;
            let domain = app.config.domain.as_ref().ok_or(RelayError::UnknownHost)?;
            domain.of_name(&name)?
        }
        (Some(_), Some(_)) => return Err(RelayError::BadShare),
    };
    let path = asked
        .path
        .filter(|path| path != "/")
        .map(|path| path.parse());
    let time = Duration::from_secs(asked.seconds);
    let is_bounded = !time.is_zero() && time <= LONGEST;
    let is_used = asked
        .uses
        .is_none_or(|uses| (1..=MOST_USES).contains(&uses));
    if !(is_bounded && is_used) {
        return Err(RelayError::BadShare);
    }
    Ok(Opens {
        host,
        path: path.transpose().map_err(|_| RelayError::BadShare)?,
        time,
        uses: asked.uses,
    })
}

/// How long a link may last, and how many may use it where they are counted: each is remembered.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const MOST_USES: usize = 100;

/// Bytes of what is asked, and how long they may take.
const MOST_BYTES: usize = 4 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
