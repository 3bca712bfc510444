//! The body of a local server's response, with the connection that it comes on.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::http2::Place;
use super::pool::{Connection, Pool};

/// The body of a local server's response. When it has been read whole, its connection goes back to
/// the pool, if the server keeps it open; when it is dropped before, or breaks, the connection is closed. In
/// HTTP/2 that is its stream alone.
pub(crate) struct LocalBody {
    body: Incoming,
    comes_on: Option<ComesOn>,
}

/// The local server broke off within a response's body: the error, or nothing where it reset an HTTP/2
/// stream with NO_ERROR, which hyper takes for the body's end, before its length had come.
#[derive(Debug)]
pub(crate) struct BrokenOff(Option<hyper::Error>);

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(error) => error.fmt(f),
            None => f.write_str("the stream was reset before its end"),
        }
    }
}

/// What a body comes on.
enum ComesOn {
    /// Without a pool, it closes after the response.
    Connection(Connection, Option<Arc<Pool>>),
    Stream(Place),
}

impl LocalBody {
    pub(super) fn new(body: Incoming, connection: Connection, pool: Option<Arc<Pool>>) -> Self {
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
            Some(ComesOn::Connection(connection, Some(pool))) => pool.put(connection),
            Some(ComesOn::Connection(connection, None)) => drop(connection),
            Some(ComesOn::Stream(place)) => drop(place),
            None => {}
        }
    }
}

impl Body for LocalBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let has_ended = self.body.is_end_stream();
        if frame.is_none() && !has_ended && self.body.size_hint().lower() > 0 {
            return Poll::Ready(Some(Err(BrokenOff(None))));
        }
        // Whoever knows the length does not poll to the end.
        if frame.is_none() || has_ended {
            self.give_back();
        }
        let broken = |error| BrokenOff(Some(error));
        Poll::Ready(frame.map(|frame| frame.map_err(broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
