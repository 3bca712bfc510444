//! A body in HTTP/2 whose failure waits until what came before it has been sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot;

/// A body that reports its failure only after its frames have been sent. A stream that is reset loses
/// the frames that wait for their turn or for window, its head too. So a last and empty frame follows
/// them, and the failure waits until that frame is dropped.
#[derive(Debug)]
pub struct SentBody<B: Body> {
    body: B,
    failed: Option<(B::Error, oneshot::Receiver<()>)>,
}

/// Bytes of such a body.
#[derive(Debug)]
pub struct SentBytes<D = Bytes> {
    /// Nothing in the last frame.
    bytes: Option<D>,
    _last: Option<oneshot::Sender<()>>,
}

impl<B: Body> SentBody<B> {
    /// Makes a body that is sent as a stream's.
    pub const fn new(body: B) -> Self {
        Self { body, failed: None }
    }

    /// The body itself.
    pub fn into_inner(self) -> B {
        self.body
    }

    /// Whether it has failed and waits for its frames to be sent.
    pub const fn is_waiting(&self) -> bool {
        self.failed.is_some()
    }
}

impl<B> Body for SentBody<B>
where
    B: Body<Error: Unpin> + Unpin,
{
    type Data = SentBytes<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<SentBytes<B::Data>>, B::Error>>> {
        if let Some((_, sent)) = &mut self.failed {
            // Its other end is dropped and never used.
            ready!(sent.poll_unpin(cx)).ok();
            return Poll::Ready(self.failed.take().map(|(error, _)| Err(error)));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            None => None,
            Some(Ok(frame)) => Some(Ok(frame.map_data(SentBytes::of))),
            Some(Err(error)) => {
                let (last, sent) = oneshot::channel();
                self.failed = Some((error, sent));
                Some(Ok(Frame::data(SentBytes::last(last))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<D> SentBytes<D> {
    const fn of(bytes: D) -> Self {
        Self {
            bytes: Some(bytes),
            _last: None,
        }
    }

    const fn last(last: oneshot::Sender<()>) -> Self {
        Self {
            bytes: None,
            _last: Some(last),
        }
    }
}

impl<D: Buf> Buf for SentBytes<D> {
    fn remaining(&self) -> usize {
        self.bytes.as_ref().map_or(0, Buf::remaining)
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.as_ref().map_or(&[], Buf::chunk)
    }

    fn advance(&mut self, count: usize) {
        if let Some(bytes) = &mut self.bytes {
            bytes.advance(count);
        }
    }
}
