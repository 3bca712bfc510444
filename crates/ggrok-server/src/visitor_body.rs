//! A response's body on its way to the visitor, whose call lasts until the last byte has been sent.

use std::error::Error;
use std::iter::successors;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use ggrok_protocol::{BodyError, BodyLength, Broken, Reservation};
use http_body::{Frame, SizeHint};
use tracing::Span;

use crate::limits::calls::Entry;
use crate::meter::{Meter, length};

/// A response's body that is counted as it goes.
pub(crate) struct VisitorBody {
    // Before the meter, since the call's place is free only when its tunnel has let it go.
    body: Body,
    length: BodyLength,
    /// Whether its end, or why it has none, is known or does not matter.
    is_over: bool,
    /// What the log says with it.
    call: Span,
    meter: Option<Arc<Meter>>,
}

/// A piece of a body, which keeps the call's place, and its bytes reserved, until it has been sent: hyper and
/// h2 drop it when the socket has taken it, or when the stream is gone.
#[derive(Default)]
pub(crate) struct Sent {
    bytes: Bytes,
    _held: Option<(Reservation, Arc<Meter>)>,
}

impl VisitorBody {
    pub(crate) fn metered(body: Body, meter: Meter) -> Self {
        let announced = body.size_hint().exact();
        Self {
            body,
            length: BodyLength {
                bytes: 0,
                announced,
            },
            is_over: !meter.is_apps,
            call: Span::current(),
            meter: Some(Arc::new(meter)),
        }
    }

    /// Notes that the body ended before its end.
    fn broke(&mut self, why: Broken) {
        self.is_over = true;
        if let Some(meter) = &self.meter {
            meter.broke(why);
        }
        let (code, text) = (why.code(), why.after(self.length));
        self.call
            .in_scope(|| tracing::debug!(code, bytes = self.length.bytes, "a response: {text}"));
    }

    /// What the limiter knows of the call; nothing where the answer is the relay's own.
    pub(crate) fn entry(&self) -> Option<&Arc<Entry>> {
        self.meter.as_ref().and_then(|meter| meter.entry())
    }

    /// Makes it a body of plain bytes, for a server that is not ours.
    pub(crate) fn into_plain(self) -> Body {
        Body::new(Plain(self))
    }

    fn guard(&self, bytes: Bytes) -> Sent {
        let meter = self.meter.as_ref();
        let held = meter.and_then(|meter| {
            let account = meter.entry()?.account();
            Some((account.reserve(bytes.len()), Arc::clone(meter)))
        });
        Sent { bytes, _held: held }
    }
}

impl Drop for VisitorBody {
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

impl From<Body> for VisitorBody {
    fn from(body: Body) -> Self {
        Self {
            body,
            length: BodyLength {
                bytes: 0,
                announced: None,
            },
            is_over: true,
            call: Span::none(),
            meter: None,
        }
    }
}

impl HttpBody for VisitorBody {
    type Data = Sent;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Sent>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(entry) = self.entry() {
            // Whoever asks for no more has what it got still to take.
            entry.waits_for_reader(matches!(polled, Poll::Ready(Some(Ok(_)))));
        }
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) => {
                let bytes = length(frame);
                self.length.bytes += bytes;
                if let Some(meter) = &self.meter {
                    meter.sends(bytes);
                }
            }
            Some(Err(error)) if !self.is_over => match broken(error) {
                Some(why) => self.broke(why),
                None => self.is_over = true,
            },
            Some(Err(_)) => {}
            None => self.is_over = true,
        }
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| self.guard(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body whose pieces are not followed: an app that embeds the relay takes plain bytes.
struct Plain(VisitorBody);

impl HttpBody for Plain {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        frame.map_ok(|frame| frame.map_data(|sent| sent.bytes))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Buf for Sent {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
