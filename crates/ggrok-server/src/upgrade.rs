//! A visitor's connection that becomes another protocol's, a WebSocket's above all.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::response::Response;
use ggrok_protocol::{socket_body, splice};
use http::{Request, StatusCode, request};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{InspectReader, InspectWriter};

use crate::Tunnel;
use crate::app::App;
use crate::error::RelayError;
use crate::gate::{Pass, passing};
use crate::limits::calls::Entry;
use crate::limits::connections::Seat;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::peer::Peer;

/// Calls for an upgrade. Where the app grants it, the visitor's connection and the tunnel are
/// spliced, until the visitor's pass ends where it has one, and keep their room among the visitors;
/// else its response is like any other.
pub(crate) async fn call(
    app: &App,
    tunnel: &Tunnel,
    peer: Option<Peer>,
    meter: &mut Meter,
    head: request::Parts,
    mut request: Request<Body>,
    pass: Option<Pass>,
) -> Result<Response, RelayError> {
    let upgraded = hyper::upgrade::on(&mut request);
    let (feed, body) = socket_body();
    let account = meter.account(tunnel);
    let response = tunnel.send(head, body, account, || meter.taken()).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        feed.end();
        return Ok(response.map(|body| passing(Body::new(body), pass)));
    }
    let (head, body) = response.into_parts();
    let metrics = app.config.metrics.clone();
    let eviction = peer.as_ref().and_then(Peer::seat).map(Seat::eviction);
    let permit = meter.take_permit();
    let entry = permit.as_ref().map(|permit| Arc::clone(permit.entry()));
    let room = (peer, permit);
    let task = app.upgrades.spawn(async move {
        let _counted = metrics.during(|counts| &counts.upgraded);
        match upgraded.await {
            Ok(visitor) => {
                let visitor = counted(visitor, entry.clone(), &metrics);
                tokio::select! {
                    () = splice(visitor, feed, body) => {}
                    () = over(pass, entry.as_deref()) => {}
                }
            }
            Err(error) => tracing::debug!(%error, "the visitor left before its upgrade"),
        }
        drop(room);
    });
    if let Some(eviction) = eviction {
        eviction.aborts(task.abort_handle());
    }
    Ok(Response::from_parts(head, Body::empty()))
}

/// Waits until the connection has to end: the visitor's pass has ended, or another call needs its place.
async fn over(pass: Option<Pass>, entry: Option<&Entry>) {
    let ended = async {
        match pass {
            Some(pass) => pass.ended().await,
            None => pending().await,
        }
    };
    let evicted = poll_fn(|cx| match entry {
        Some(entry) => entry.poll_evicted(cx),
        None => Poll::Pending,
    });
    tokio::select! {
        () = ended => {}
        () = evicted => {}
    }
}

/// A visitor's connection whose bytes are counted.
fn counted(
    visitor: Upgraded,
    entry: Option<Arc<Entry>>,
    metrics: &Metrics,
) -> impl AsyncRead + AsyncWrite + Unpin + use<> {
    let length = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let received = metrics.counts().received.clone();
    let sent = metrics.counts().sent.clone();
    let moved = move || entry.as_ref().map_or((), |entry| entry.moved());
    let also = moved.clone();
    let reading = InspectReader::new(TokioIo::new(visitor), move |bytes| {
        received.inc_by(length(bytes));
        moved();
    });
    InspectWriter::new(reading, move |bytes| {
        sent.inc_by(length(bytes));
        also();
    })
}
