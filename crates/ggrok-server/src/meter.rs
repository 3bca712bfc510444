//! The measures of one call, from its request's head to the end of its response's body.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::{Buf, Bytes};
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::crowd::Guest;
use crate::error::RelayError;
use crate::metrics::{During, Hop, Metrics};

/// Measures one call. Dropping it is the call's end.
pub(crate) struct Meter {
    metrics: Metrics,
    start: Instant,
    /// Whether it is known what became of the call.
    has_outcome: bool,
    guest: Option<Guest>,
    _in_flight: During,
}

impl Meter {
    /// Starts with the request's head.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            metrics: metrics.clone(),
            start: Instant::now(),
            has_outcome: false,
            guest: None,
            _in_flight: metrics.during(|counts| &counts.calls_in_flight),
        }
    }

    /// How many calls are under way, with this one.
    pub(crate) fn in_flight(&self) -> usize {
        let calls = self.metrics.counts().calls_in_flight.get();
        usize::try_from(calls).unwrap_or(0)
    }

    /// Keeps the place that the visitor's address has, until the call's end.
    pub(crate) fn keep(&mut self, guest: Guest) {
        self.guest = Some(guest);
    }

    /// Gives that place away: what the call becomes outlives it.
    pub(crate) fn give_guest(&mut self) -> Option<Guest> {
        self.guest.take()
    }

    /// Notes that the tunnel took the request.
    pub(crate) fn taken(&self) {
        self.reached(Hop::Tunnel);
    }

    /// Notes that the app answered.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.has_outcome = true;
        self.metrics.counts().answered(status);
        self.reached(Hop::Head);
    }

    /// Notes that the relay gives an answer of its own.
    pub(crate) fn failed(&mut self, error: &RelayError) {
        self.has_outcome = true;
        let (status, code) = error.status_and_code();
        self.metrics.counts().failed(code, status);
    }

    /// Goes along with a response until its body is at its end. An upgraded connection is no longer a
    /// call.
    pub(crate) fn follow(self, response: Response) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return response;
        }
        response.map(|body| Body::new(Metered { body, meter: self }))
    }

    fn reached(&self, hop: Hop) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.metrics.counts().reached(hop, seconds);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if !self.has_outcome {
            self.metrics.counts().left();
        }
        self.reached(Hop::Whole);
    }
}

/// A response's body that is counted as it goes.
struct Metered {
    body: Body,
    meter: Meter,
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let sent = &self.meter.metrics.counts().sent;
            sent.inc_by(length(frame));
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

/// Bytes of data in a frame of a body.
pub(crate) fn length(frame: &Frame<Bytes>) -> u64 {
    let bytes = frame.data_ref().map_or(0, Buf::remaining);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
