//! A body in HTTP/1 whose failure waits until what came before it has been written.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};

/// The flushes of one connection. Clones are of the same connection.
#[derive(Clone, Debug, Default)]
pub struct Flush(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_awaited: AtomicBool,
    body: AtomicWaker,
}

impl Flush {
    /// Notes that the connection's stream has been flushed, which hyper does after it has written all
    /// that it buffered.
    pub fn note(&self) {
        if self.0.is_awaited.load(Ordering::Relaxed) {
            self.0.is_awaited.store(false, Ordering::Relaxed);
            self.0.body.wake();
        }
    }

    fn begin(&self, cx: &Context<'_>) {
        self.0.body.register(cx.waker());
        self.0.is_awaited.store(true, Ordering::Relaxed);
        // hyper flushes each time that it is polled, and may have flushed this time already.
        cx.waker().wake_by_ref();
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.body.register(cx.waker());
        if self.0.is_awaited.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// A body that reports its failure only after the connection has been flushed. hyper drops what it
/// buffered of a message as soon as the message's body fails.
#[derive(Debug)]
pub struct FlushedBody<B: Body> {
    body: B,
    flush: Flush,
    failed: Option<B::Error>,
}

impl<B: Body> FlushedBody<B> {
    /// A body that is sent on this connection.
    pub const fn new(body: B, flush: Flush) -> Self {
        Self {
            body,
            flush,
            failed: None,
        }
    }

    /// The body itself.
    pub fn into_inner(self) -> B {
        self.body
    }
}

impl<B> Body for FlushedBody<B>
where
    B: Body<Error: Unpin> + Unpin,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if self.failed.is_some() {
            ready!(self.flush.poll(cx));
            return Poll::Ready(self.failed.take().map(Err));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Err(error)) => {
                self.failed = Some(error);
                self.flush.begin(cx);
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
