//! The measures of one call, from its request's head to the end of its response's body.

use std::error::Error;
use std::iter::successors;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::{Buf, Bytes};
use ggrok_protocol::{BodyError, BodyLength, Broken};
use http::StatusCode;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::Span;

use crate::crowd::Guest;
use crate::error::RelayError;
use crate::metrics::{During, Hop, Metrics};

/// Measures one call. Dropping it is the call's end.
pub(crate) struct Meter {
    metrics: Metrics,
    start: Instant,
    /// Whether it is known what became of the call.
    has_outcome: bool,
    /// Whether that is the app's answer.
    is_apps: bool,
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
            is_apps: false,
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
        self.is_apps = true;
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
        let announced = response.body().size_hint().exact();
        response.map(|body| {
            Body::new(Metered {
                body,
                length: BodyLength {
                    bytes: 0,
                    announced,
                },
                is_over: !self.is_apps,
                call: Span::current(),
                meter: self,
            })
        })
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
    length: BodyLength,
    /// Whether its end, or why it has none, is known or does not matter.
    is_over: bool,
    /// What the log says with it.
    call: Span,
    meter: Meter,
}

impl Metered {
    /// Notes that the body ended before its end.
    fn broke(&mut self, why: Broken) {
        self.is_over = true;
        self.meter.metrics.counts().broke(why);
        let (code, text) = (why.code(), why.after(self.length));
        self.call
            .in_scope(|| tracing::debug!(code, bytes = self.length.bytes, "a response: {text}"));
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if !self.is_over && !self.body.is_end_stream() {
            self.broke(Broken::VisitorLeft);
        }
    }
}

/// Who ended a body before its end, as far as its error tells. A link that is over ends it too.
fn broken(error: &axum::Error) -> Option<Broken> {
    let first: &(dyn Error + 'static) = error;
    let mut errors = successors(Some(first), |&error| error.source());
    errors.find_map(|error| error.downcast_ref().copied().map(BodyError::into))
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let bytes = length(frame);
                self.length.bytes += bytes;
                self.meter.metrics.counts().sent.inc_by(bytes);
            }
            Poll::Ready(Some(Err(error))) if !self.is_over => match broken(error) {
                Some(why) => self.broke(why),
                None => self.is_over = true,
            },
            Poll::Ready(None) => self.is_over = true,
            _ => {}
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
