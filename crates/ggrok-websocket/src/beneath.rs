//! The stream beneath the library's WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::incoming::Incoming;
use crate::outgoing::Outgoing;

/// A connection, of which the library sees only what plain data leave over.
///
/// The library asks whenever it has to read or write, so that it wakes the right tasks, and answers pings
/// in time.
pub(crate) struct Beneath<S> {
    pub(crate) stream: S,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
}

impl<S: AsyncRead + Unpin> Beneath<S> {
    /// Reads more, and returns how many bytes.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let read = poll_read_buf(stream, cx, self.incoming.room());
        if read.is_pending() {
            self.incoming.rest();
        }
        read
    }

    /// Reads up to the end, and throws it away.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Ok(1..) = ready!(self.poll_fill(cx)) {
            self.incoming.discard();
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Beneath<S> {
    /// Reads what is for the library. Where a plain message comes first it has to wait, without being
    /// woken: who asked the library takes that message, and asks again.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.incoming.give(buffer);
            if !buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            if this.incoming.has_message() {
                return Poll::Pending;
            }
            if ready!(this.poll_fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Beneath<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let stream = Pin::new(&mut this.stream);
        this.outgoing.poll_write_behind(stream, cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut stream = Pin::new(&mut this.stream);
        ready!(this.outgoing.poll_write(stream.as_mut(), cx))?;
        stream.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut stream = Pin::new(&mut this.stream);
        ready!(this.outgoing.poll_write(stream.as_mut(), cx))?;
        stream.poll_shutdown(cx)
    }
}
