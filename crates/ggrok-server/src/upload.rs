//! A request's body on its way into the tunnel: counted, and given up where it comes too slowly.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use prometheus::IntCounter;

use crate::forwarded::remove_claims_from_trailers;
use crate::limits::calls::Entry;
use crate::meter::length;
use crate::pace::Pace;

/// A request's body.
pub(crate) struct Upload {
    body: Body,
    received: IntCounter,
    /// What the limiter knows of the call.
    entry: Option<Arc<Entry>>,
    /// Where the body told its length. One of unknown length may be a stream, in which long pauses are
    /// nobody's fault.
    pace: Option<(Pace, Slow)>,
}

/// Knows whether a body was given up since its visitor sent too slowly.
#[derive(Clone, Default)]
pub(crate) struct Slow(Option<Arc<AtomicBool>>);

impl Slow {
    pub(crate) fn is_noted(&self) -> bool {
        let noted = self.0.as_ref();
        noted.is_some_and(|noted| noted.load(Ordering::Relaxed))
    }

    fn note(&self) {
        if let Some(noted) = &self.0 {
            noted.store(true, Ordering::Relaxed);
        }
    }
}

impl Upload {
    /// Counts the bytes of a body, which must come at this pace.
    pub(crate) fn new(
        body: Body,
        received: IntCounter,
        entry: Option<Arc<Entry>>,
        pace: Duration,
    ) -> (Self, Slow) {
        let has_length = body.size_hint().exact().is_some_and(|length| length > 0);
        let slow = Slow(has_length.then(Arc::default));
        let upload = Self {
            body,
            received,
            entry,
            pace: has_length.then(|| (Pace::new(pace), slow.clone())),
        };
        (upload, slow)
    }
}

/// The visitor sends too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly")]
struct TooSlow;

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.entry.as_ref().is_some_and(|entry| entry.is_evicted()) {
            // Another call needs its place now.
            return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
        }
        let mut frame = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut frame
            && let Some(trailers) = frame.trailers_mut()
        {
            remove_claims_from_trailers(trailers);
        }
        let came = match &frame {
            Poll::Ready(Some(Ok(frame))) => length(frame),
            _ => 0,
        };
        this.received.inc_by(came);
        if let Some(entry) = &this.entry {
            entry.waits_for_request(frame.is_pending());
            if came > 0 {
                entry.moved();
            }
        }
        let Some((pace, slow)) = &mut this.pace else {
            return frame;
        };
        if frame.is_ready() {
            pace.came(came);
        } else if pace.poll_too_slow(cx).is_ready() {
            slow.note();
            return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
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
