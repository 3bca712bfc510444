//! A body that comes in, frame by frame.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Body, Frame, SizeHint};

use super::call::{Call, Over, Piece};
use super::outbox::Outbox;
use crate::{BodyError, ResetCode};

/// A body that comes in. Reading it grants the peer credit for more; dropping it drops what comes.
#[derive(Debug)]
pub(crate) struct Incoming<G> {
    call: Arc<Call>,
    outbox: Outbox,
    /// Bytes that are still to come, where the head announced them.
    left: Option<u64>,
    /// Credit that is granted when the body is first read: the peer's visitor waits for a 100.
    promised: Option<u32>,
    /// The head is large. Then the body is not said to be empty, so that whoever writes the head keeps the
    /// body, and with it what the head takes of the budget, until the head is mostly written.
    has_large_head: bool,
    /// Ends the call when the body is dropped.
    _guard: G,
}

impl<G> Incoming<G> {
    pub(crate) fn new(
        call: Arc<Call>,
        outbox: Outbox,
        headers: &HeaderMap,
        promised: Option<u32>,
        guard: G,
    ) -> Self {
        let length = headers.get(CONTENT_LENGTH);
        let left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Self {
            call,
            outbox,
            left,
            promised,
            has_large_head: false,
            _guard: guard,
        }
    }

    /// Notes how long the head was.
    pub(crate) const fn behind_head_of(mut self, length: usize) -> Self {
        self.has_large_head = length >= LARGE_HEAD;
        self
    }

    /// Bytes that were announced and never come, where the body has ended and was read.
    pub(crate) fn lacks(&self) -> Option<u64> {
        let left = self.left.filter(|left| *left > 0);
        left.filter(|_| self.call.is_drained())
    }
}

impl<G: Unpin> Body for Incoming<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(credit) = self.promised.take() {
            self.outbox.credit(self.call.id, credit);
        }
        let piece = ready!(self.call.poll_piece(cx));
        Poll::Ready(match piece {
            Ok(Piece::Bytes(bytes, credit)) => {
                if let Some(credit) = credit {
                    self.outbox.credit(self.call.id, credit);
                }
                let read = bytes.len() as u64;
                self.left = self.left.map(|left| left.saturating_sub(read));
                Some(Ok(Frame::data(bytes)))
            }
            Ok(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Ok(Piece::End) => None,
            Err(Over::Reset(code)) => Some(Err(BodyError::Reset(code))),
            Err(Over::Closed) => Some(Err(BodyError::Closed)),
            Err(Over::BodyBroken) => Some(Err(BodyError::Reset(ResetCode::Cancelled))),
            Err(Over::BodyStalled | Over::BodyUntaken) => {
                Some(Err(BodyError::Reset(ResetCode::TimedOut)))
            }
            Err(Over::HeadTooLarge | Over::NoRoom) => {
                Some(Err(BodyError::Reset(ResetCode::Refused)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        !self.has_large_head && self.call.is_drained()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.call.is_drained() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

/// Bytes of a head that is large. hyper asks for no more of a body while it has 128 KiB to write.
pub(crate) const LARGE_HEAD: usize = 64 << 10;

impl<G> Drop for Incoming<G> {
    fn drop(&mut self) {
        self.call.stop_reading();
    }
}
