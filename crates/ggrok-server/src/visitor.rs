//! One visitor's connection.

mod admission;
mod grpc;
pub(crate) mod http1;
mod http2;
mod pause;
mod preface;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

pub(crate) use self::admission::{admit, check};
pub(crate) use self::pause::PausingStream;
use crate::app::App;
use crate::host::Host;
use crate::metrics::Desk;
use crate::peer::Peer;
use crate::place::Place;
use crate::visitor_body::VisitorBody;
use crate::{call, pages, stream};

/// Who sent a request, and for whom: what the rest of the relay knows of its origin.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) host: Host,
    pub(crate) peer: Peer,
}

/// Where a request came from, as far as this server or the app that embeds the relay saw.
pub(crate) fn peer(extensions: &Extensions) -> Option<Peer> {
    let visit: Option<&Visit> = extensions.get();
    let connection: Option<&ConnectInfo<SocketAddr>> = extensions.get();
    visit
        .map(|visit| visit.peer.clone())
        .or_else(|| Some(connection?.0.ip().into()))
}

/// Serves a visitor's connection until it ends, from which `said` has been read. After `draining`, the
/// requests that run are the last ones.
pub(crate) async fn serve(
    stream: TcpStream,
    said: Bytes,
    peer: Peer,
    app: Arc<App>,
    pages: Router,
    draining: CancellationToken,
) {
    let (stream, departure) = stream::watched(stream);
    let mut stream = PausingStream::new(stream, peer.activity());
    stream.unread(said);
    if !app.config.http2 {
        return http1::serve(stream, departure, peer, app, pages, draining).await;
    }
    let stopped = async {
        draining.cancelled().await;
        sleep(LAST_WORDS).await;
    };
    let begun = tokio::select! {
        begun = timeout(app.config.idle_timeout, preface::is_http2(&mut stream)) => begun,
        () = stopped => return,
    };
    match begun {
        // In a box, since most connections are none of these and would keep its room.
        Ok(Ok(true)) => Box::pin(http2::serve(stream, peer, app, pages, draining)).await,
        Ok(Ok(false)) => http1::serve(stream, departure, peer, app, pages, draining).await,
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a visitor's connection failed"),
        Err(_) => tracing::debug!(%peer, "a visitor said nothing"),
    }
}

async fn answer(
    app: Arc<App>,
    mut pages: Router,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Response<VisitorBody> {
    let host = match admit(&mut request, app.config.head_limit) {
        Ok(host) => host,
        Err(error) => {
            tracing::debug!(%peer, %error, "refused a request");
            let refused = app.refuse(Desk::Request, &error, request.headers().get(ACCEPT));
            return refused.map(VisitorBody::from);
        }
    };
    if pages::is_page(request.uri().path()) {
        let visit = Visit { host, peer };
        request.extensions_mut().insert(visit);
        let Ok(response) = pages.call(request).await;
        return response.map(VisitorBody::from);
    }
    // Not through the router: it puts a Content-Length into answers to HEAD.
    let place = Place::Host(host);
    call::answer(&app, &place, Some(peer), request.map(Body::new)).await
}

/// How long a visitor who has connected may take to send a request when the relay stops. hyper
/// would close on one that is on its way.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How long a visitor may pause within what it still sends to a connection that we have closed.
const QUIET: Duration = Duration::from_secs(1);
