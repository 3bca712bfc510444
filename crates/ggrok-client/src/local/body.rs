//! The body of a local server's response, with the connection that it comes on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::http2::Place;
use super::pool::{Connection, Pool};

/// The body of a local server's response. When it has been read whole, its connection goes back to
/// the pool; when it is dropped before, or breaks, the connection is closed. In HTTP/2 that is its
/// stream alone.
pub(crate) struct LocalBody {
    body: Incoming,
    comes_on: Option<ComesOn>,
}

/// What a body comes on.
enum ComesOn {
    Connection(Connection, Arc<Pool>),
    Stream(Place),
}

impl LocalBody {
    pub(super) fn new(body: Incoming, connection: Connection, pool: Arc<Pool>) -> Self {
        Self::on(body, ComesOn::Connection(connection, pool))
    }

    /// A body on a connection that it shares with others.
    pub(super) fn shared(body: Incoming, place: Place) -> Self {
        Self::on(body, ComesOn::Stream(place))
    }

    fn on(body: Incoming, comes_on: ComesOn) -> Self {
        let mut body = Self {
            body,
            comes_on: Some(comes_on),
        };
        if body.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        match self.comes_on.take() {
            Some(ComesOn::Connection(connection, pool)) => pool.put(connection),
            Some(ComesOn::Stream(place)) => drop(place),
            None => {}
        }
    }
}

impl Body for LocalBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        // Whoever knows the length does not poll to the end.
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.give_back();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
