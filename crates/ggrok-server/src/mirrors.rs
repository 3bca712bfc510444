//! The API by which programs reach mirrors: list, describe, close, call.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Json, OriginalUri, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::stream;
use http::header::ACCEPT;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri};
use serde::Serialize;

use crate::api::{caller, time};
use crate::app::App;
use crate::error::RelayError;
use crate::metrics::Desk;
use crate::place::Place;
use crate::registry::Missing;
use crate::visitor::{self, peer};
use crate::visitor_body::VisitorBody;
use crate::{Owner, Tunnel, call, register};

/// The routes of the API, and of the mirrors' registration.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/mirror", any(register::mirror))
        .route("/mirrors", get(list))
        .route("/mirrors/{name}", get(describe).delete(close))
        .route("/mirrors/{name}/", any(reach))
        .route("/mirrors/{name}/{*path}", any(reach))
        .with_state(app)
}

/// Who asks, and in which form an error would be read. Making it takes the credentials out of the
/// request.
struct Caller {
    owner: Owner,
    accept: Option<HeaderValue>,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(head: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let accept = head.headers.get(ACCEPT).cloned();
        match caller(app, head).await {
            Ok(grant) => Ok(Self {
                owner: grant.owner().clone(),
                accept,
            }),
            Err(error) => Err(app.refuse(Desk::Api, &error, accept.as_ref())),
        }
    }
}

/// A mirror as the API describes it.
#[derive(Serialize)]
struct Description {
    name: String,
    /// Where its owner reaches it, at this server.
    address: String,
    /// The host whose visitors it serves besides.
    host: Option<String>,
    dialect: String,
    /// Where its client connected from.
    peer: Option<String>,
    connected_since: String,
    last_seen: String,
    calls: u64,
}

impl Description {
    /// Describes a mirror. `mirrors` is the path of the list.
    fn of(tunnel: &Tunnel, mirrors: &str) -> Self {
        let name = tunnel.name().map(ToString::to_string).unwrap_or_default();
        Self {
            address: format!("{mirrors}/{name}/"),
            name,
            host: tunnel.host().map(ToString::to_string),
            dialect: tunnel.dialect().to_string(),
            peer: tunnel.peer().map(|peer| peer.to_string()),
            connected_since: time(tunnel.connected_since()),
            last_seen: time(tunnel.last_seen()),
            calls: tunnel.calls(),
        }
    }
}

async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
) -> Json<Vec<Description>> {
    let mirrors = app.registry.mirrors(&caller.owner);
    let described = mirrors
        .iter()
        .map(|tunnel| Description::of(tunnel, uri.path()));
    Json(described.collect())
}

async fn describe(
    State(app): State<Arc<App>>,
    caller: Caller,
    OriginalUri(original): OriginalUri,
    uri: Uri,
) -> Response {
    let described = place(&caller.owner, uri.path()).and_then(|place| {
        let missing = |why| RelayError::missing(&place, why);
        let tunnel = app.registry.tunnel(&place).map_err(missing)?;
        let mirrors = original
            .path()
            .rsplit_once('/')
            .map_or("", |(mirrors, _)| mirrors);
        Ok(Json(Description::of(&tunnel, mirrors)))
    });
    match described {
        Ok(described) => described.into_response(),
        Err(error) => app.refuse(Desk::Api, &error, caller.accept.as_ref()),
    }
}

/// Closes a mirror's tunnel, or forgets a mirror that is offline, and its host in the domain with it.
async fn close(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let closed = place(&caller.owner, uri.path()).and_then(|place| {
        match app.registry.tunnel(&place) {
            Ok(tunnel) => tunnel.close(),
            Err(Missing::Offline) => {
                app.registry.forget(&caller.owner, &place);
                if let Some(host) = host(&app, &place) {
                    app.registry.forget(&caller.owner, &host);
                }
            }
            Err(why) => return Err(RelayError::missing(&place, why)),
        }
        Ok(StatusCode::NO_CONTENT)
    });
    match closed {
        Ok(closed) => closed.into_response(),
        Err(error) => app.refuse(Desk::Api, &error, caller.accept.as_ref()),
    }
}

/// The host that a mirror has in the relay's domain where it is public.
fn host(app: &App, mirror: &Place) -> Option<Place> {
    let Place::Mirror(_, name) = mirror else {
        return None;
    };
    let domain = app.config.domain.as_ref()?;
    domain.of_name(name).ok().map(Place::Host)
}

/// Calls a mirror: with the request as it is, but the mirror's address and the credentials.
async fn reach(State(app): State<Arc<App>>, mut request: Request) -> Response {
    let is_head = request.method() == Method::HEAD;
    let peer = peer(request.extensions());
    let response = match admit(&app, &mut request).await {
        Ok(place) => {
            let answer = call::answer(&app, &place, peer, request).await;
            answer.map(VisitorBody::into_plain)
        }
        Err(error) => app.refuse(Desk::Api, &error, request.headers().get(ACCEPT)),
    };
    if is_head {
        // The router would tell of the length of the body that is not there.
        return response.map(|_| Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()));
    }
    response
}

/// Finds out which mirror a call is for, and leaves the request that goes there.
async fn admit(app: &App, request: &mut Request) -> Result<Place, RelayError> {
    visitor::check(request, app.config.head_limit)?;
    let (mut head, body) = std::mem::take(request).into_parts();
    let granted = caller(app, &mut head).await;
    *request = Request::from_parts(head, body);
    let grant = granted?;
    let target = request
        .uri()
        .path_and_query()
        .map_or("", PathAndQuery::as_str);
    let place = place(grant.owner(), target)?;
    // The router has seen to it that there is a slash.
    let (_, target) = split(target).ok_or(RelayError::UnknownMirror)?;
    let target = PathAndQuery::try_from(target).map_err(|_| RelayError::BadTarget)?;
    *request.uri_mut() = Uri::from(target);
    Ok(place)
}

/// The mirror of an owner that a target names.
fn place(owner: &Owner, target: &str) -> Result<Place, RelayError> {
    let (name, _) = split(target).ok_or(RelayError::UnknownMirror)?;
    let name = name.parse().map_err(|_| RelayError::UnknownMirror)?;
    Ok(Place::Mirror(owner.clone(), name))
}

/// Splits `/mirrors/NAME/PATH?QUERY` into the name and what is behind it.
fn split(target: &str) -> Option<(&str, &str)> {
    let rest = target.strip_prefix("/mirrors/")?;
    Some(rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn splits_the_name_from_a_target_that_stays_as_it_is() {
        for (target, name, rest) in [
            ("/mirrors/a", "a", ""),
            ("/mirrors/a/", "a", "/"),
            ("/mirrors/a?x=/", "a", "?x=/"),
            ("/mirrors/a//b/../%2F?q={}\"/", "a", "//b/../%2F?q={}\"/"),
        ] {
            assert_eq!(split(target), Some((name, rest)));
        }
        assert_eq!(split("/mirror"), None);
    }
}
