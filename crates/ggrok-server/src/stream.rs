//! A visitor's socket, which tells that the visitor has left also while nobody reads from it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::sleep;

/// A visitor's socket. Dropping it closes the connection.
pub(crate) struct VisitorStream {
    /// What was read ahead, and is read again first.
    unread: Bytes,
    from: Arc<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl VisitorStream {
    /// Puts back what was read last.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.unread = bytes;
    }
}

/// Knows when the visitor of a socket leaves.
pub(crate) struct Departure(Arc<OwnedReadHalf>);

/// Takes a visitor's socket over.
pub(crate) fn watched(stream: TcpStream) -> (VisitorStream, Departure) {
    let (from, to) = stream.into_split();
    let from = Arc::new(from);
    let departure = Departure(Arc::clone(&from));
    let stream = VisitorStream {
        unread: Bytes::new(),
        from,
        to,
    };
    (stream, departure)
}

impl Departure {
    /// Waits until the visitor has closed its sending half, or the connection is broken. That is seen
    /// behind bytes that the system holds for us, but not behind those for which it has no room: they
    /// come first. Cancel-safe.
    pub(crate) async fn wait(&self) {
        // While bytes lie unread, a wait for the next event ends at once.
        while let Ok(ready) = self.0.ready(Interest::READABLE).await
            && !ready.is_read_closed()
        {
            sleep(ROUND).await;
        }
    }
}

/// How long it may take until a departure is noticed.
const ROUND: Duration = Duration::from_secs(1);

impl AsyncRead for VisitorStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let stream: &TcpStream = (*self.from).as_ref();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncWrite for VisitorStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.to.is_write_vectored()
    }
}
