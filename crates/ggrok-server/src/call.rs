//! A request, called through the tunnel of its place.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::Either;
use ggrok_protocol::{CallError, TOKEN_HEADER, remove_hop_by_hop, requested_upgrade};
use http::header::{ACCEPT, CONNECTION, EXPECT, HOST, HeaderValue, UPGRADE};
use http::{Request, Version, request};
use tracing::Instrument;

use crate::app::App;
use crate::error::RelayError;
use crate::forwarded::{self, Forwarded};
use crate::gate::{self, LOGIN_HEADER, Pass};
use crate::limits::calls::{Caller, Entry, Permit};
use crate::meter::Meter;
use crate::peer::Peer;
use crate::place::Place;
use crate::request_id::RequestId;
use crate::upload::Upload;
use crate::visitor_body::VisitorBody;
use crate::{Config, Tunnel};
use crate::{max_forwards, response, upgrade};

/// Where a request came from.
struct Who {
    /// Who is at the other end of its connection: a visitor, or a router of ours.
    peer: Option<Peer>,
    /// The visitor, as far as the trusted hops tell.
    visitor: Option<IpAddr>,
}

/// Answers a request with the app's response, or with the reason why there is none.
//
// This and what it calls return futures that hold each thing once: an async fn keeps its arguments beside
// what becomes of them, and each call would take that much more memory. The whole lies in a box, or a span
// and each caller would move it.
pub(crate) fn answer(
    app: &App,
    place: &Place,
    peer: Option<Peer>,
    mut request: Request<Body>,
) -> impl Future<Output = http::Response<VisitorBody>> {
    let accept = request.headers().get(ACCEPT).cloned();
    let id = RequestId::of(request.headers());
    let (method, path) = (request.method(), request.uri().path());
    let span = tracing::debug_span!("call", %id, %method, path);
    let mut meter = Meter::new(&app.config.metrics);
    let visitor = forwarded::visitor(request.headers(), peer.as_ref(), app.config.trusted_hops);
    if matches!(place, Place::Host(_)) {
        forwarded::check_hops(request.headers(), app.config.trusted_hops, &app.log);
    }
    let who = Who { peer, visitor };
    let answering = async move {
        let called = match enter(app, place, &who).await {
            Ok(permit) => {
                let entry = Arc::clone(permit.entry());
                meter.keep(permit);
                let calling = call(app, place, &who, id, &mut meter, &mut request);
                unless_evicted(&entry, calling).await
            }
            Err(error) => Err(error),
        };
        let answer = match called {
            Ok(answer) => {
                let status = answer.status();
                tracing::debug!(%place, status = status.as_u16(), "answered a call");
                meter.answered(status);
                response::onward(answer)
            }
            Err(error) => {
                tracing::debug!(%place, %error, "refused a call");
                meter.failed(&error);
                error.response(accept.as_ref())
            }
        };
        meter.follow(answer)
    };
    Box::pin(answering).instrument(span)
}

/// Takes a place for a call, before anything else is done, or turns it away.
async fn enter(app: &App, place: &Place, who: &Who) -> Result<Permit, RelayError> {
    let caller = match place {
        Place::Host(_) => Caller::Visitor(who.visitor),
        // The API is for programs of owners, which may well call much from one machine.
        Place::Mirror(..) => Caller::Owner(who.visitor),
    };
    let admitted = app.calls.enter(caller).await;
    admitted.map_err(|full| app.full(full))
}

/// Waits for a response, unless the call has to give way to another.
async fn unless_evicted(
    entry: &Entry,
    calling: impl Future<Output = Result<Response, RelayError>>,
) -> Result<Response, RelayError> {
    let mut calling = pin!(calling);
    poll_fn(|cx| {
        if entry.poll_evicted(cx).is_ready() {
            return Poll::Ready(Err(RelayError::Overloaded));
        }
        calling.as_mut().poll(cx)
    })
    .await
}

/// Calls through the tunnel of the place, and takes the request apart for that, unless it is refused before.
async fn call(
    app: &App,
    place: &Place,
    who: &Who,
    id: RequestId,
    meter: &mut Meter,
    request: &mut Request<Body>,
) -> Result<Response, RelayError> {
    if app.config.pseudonym.has_signed(request.headers()) {
        return Err(RelayError::Loop);
    }
    max_forwards::count(request)?;
    let tunnel = app.registry.tunnel_by(place, app.settled).await;
    let tunnel = tunnel.map_err(|why| RelayError::missing(place, why))?;
    let pass = let_in(app, place, &tunnel, who.visitor, request).await?;
    if let Some(permit) = meter.permit() {
        let joined = permit.join(|| tunnel.capacity()).await;
        joined.map_err(|full| app.full(full))?;
    }
    let head = head(request, who.peer.as_ref(), id, &app.config);
    let head = addressed(place, head);
    let request = std::mem::take(request);
    match pass {
        None => send(app, &tunnel, who, meter, head, request, None).await,
        Some(pass) => {
            let sent = send(app, &tunnel, who, meter, head, request, Some(pass.clone()));
            // In a box, since few visitors come by a link.
            Box::pin(pass.bound(sent)).await
        }
    }
}

/// The head with the host that the local server is to see.
fn addressed(place: &Place, mut head: request::Parts) -> request::Parts {
    if matches!(place, Place::Mirror(..)) {
        // It is the API's. The local server gets its own, which no check of its refuses.
        head.headers.remove(HOST);
    }
    head
}

/// Sends a request whose head is ready through its tunnel.
fn send(
    app: &App,
    tunnel: &Tunnel,
    who: &Who,
    meter: &mut Meter,
    head: request::Parts,
    request: Request<Body>,
    pass: Option<Pass>,
) -> impl Future<Output = Result<Response, RelayError>> {
    if head.headers.contains_key(UPGRADE) {
        let peer = who.peer.clone();
        let upgraded = upgrade::call(app, tunnel, peer, meter, head, request, pass);
        return Either::Left(Box::pin(upgraded));
    }
    let entry = meter.entry().map(Arc::clone);
    let account = meter.account(tunnel);
    let received = app.config.metrics.counts().received.clone();
    let (body, slow) = Upload::new(request.into_body(), received, entry, app.config.body_pace);
    let sent = tunnel.send(head, body, account, || meter.taken());
    Either::Right(sent.map(move |sent| match sent {
        Ok(response) => Ok(response.map(|body| gate::passing(Body::new(body), pass))),
        Err(_) if slow.is_noted() => Err(CallError::BodyStalled.into()),
        Err(error) => Err(error.into()),
    }))
}

/// Lets a visitor in, as the tunnel's rules say. An owner's program is let in by its token; where
/// anybody is an owner, nobody comes past rules that way.
async fn let_in(
    app: &App,
    place: &Place,
    tunnel: &Tunnel,
    visitor: Option<IpAddr>,
    request: &mut Request<Body>,
) -> Result<Option<Pass>, RelayError> {
    match place {
        Place::Host(host) => app.gate.admit(tunnel, host, visitor, request).await,
        Place::Mirror(..) if app.config.access.is_open() && tunnel.door().is_some() => {
            Err(RelayError::OpenRelay)
        }
        Place::Mirror(..) => {
            gate::remove_cookies(request.headers_mut());
            Ok(None)
        }
    }
}

/// The head of the request that goes to the app. It takes the fields of the visitor's with it.
pub(crate) fn head<B>(
    request: &mut Request<B>,
    peer: Option<&Peer>,
    id: RequestId,
    config: &Config,
) -> request::Parts {
    let mut onward = Request::new(());
    *onward.method_mut() = request.method().clone();
    *onward.uri_mut() = request.uri().clone();
    *onward.version_mut() = request.version();
    *onward.headers_mut() = std::mem::take(request.headers_mut());
    let (mut head, ()) = onward.into_parts();
    let upgrade = requested_upgrade(&head).cloned();
    // Read before and set after the removal, or a visitor could name these fields in Connection
    // and so have them removed.
    let forwarded = Forwarded::of(&head.headers, peer, config.trusted_hops);
    remove_hop_by_hop(&mut head.headers);
    // The relay's own, wherever a program gives it.
    head.headers.remove(TOKEN_HEADER);
    head.headers.remove(LOGIN_HEADER);
    forwarded.set(&mut head.headers);
    config.pseudonym.sign(&mut head.headers, head.version);
    id.set(&mut head.headers);
    if head.version == Version::HTTP_10 {
        // RFC 9110, section 10.1.1: it means nothing there, and nobody waits for a 100.
        head.headers.remove(EXPECT);
    }
    if let Some(protocol) = upgrade {
        let upgrade = HeaderValue::from_static("upgrade");
        head.headers.insert(CONNECTION, upgrade);
        head.headers.insert(UPGRADE, protocol);
    }
    head
}
