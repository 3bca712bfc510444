//! A connection whose response is read a second time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection with what was read of it, which is read again. The request to which that is the response
/// has been sent, and is not sent again: the first one that is written goes nowhere.
pub(super) struct Again<S> {
    stream: S,
    unread: Bytes,
    stage: Stage,
}

enum Stage {
    /// The request has still to be written. Who would read before waits.
    Asking(Option<Waker>),
    Asked,
    Answering,
}

impl<S> Again<S> {
    pub(super) const fn new(stream: S, unread: Bytes) -> Self {
        let stage = Stage::Asking(None);
        Self {
            stream,
            unread,
            stage,
        }
    }

    /// Takes a write that goes nowhere.
    fn swallow(&mut self) -> bool {
        if let Stage::Asking(reader) = &mut self.stage {
            if let Some(reader) = reader.take() {
                reader.wake();
            }
            self.stage = Stage::Asked;
        }
        matches!(self.stage, Stage::Asked)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Again<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Stage::Asking(reader) = &mut self.stage {
            *reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.stage = Stage::Answering;
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Again<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.swallow() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.swallow() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::Again;

    #[tokio::test]
    async fn gives_what_was_read_and_the_rest_to_whoever_asks_again() {
        let (mut far, near) = duplex(64);
        let (mut from, mut to) = tokio::io::split(Again::new(near, "HTTP/1.1 2".into()));
        // It waits for the request.
        let reading = tokio::spawn(async move {
            let mut read = [0; 17];
            from.read_exact(&mut read).await.unwrap();
            (from, read)
        });
        tokio::task::yield_now().await;
        far.write_all(b"00 OK\r\n").await.unwrap();
        to.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let (_from, read) = reading.await.unwrap();
        assert_eq!(&read, b"HTTP/1.1 200 OK\r\n");
        // The next request is a new one.
        to.write_all(b"GET /next").await.unwrap();
        let mut request = [0; 9];
        far.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"GET /next");
    }
}
