//! A connection to the local server: what was sent before it broke is still read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use ggrok_protocol::{Flush, poll_write_pieces};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

/// Reads at most [`PIECE`] bytes at a time. hyper takes 256 KiB at once of a large body, and more of it has
/// left the processor's cache before it is on its way.
///
/// A write that fails is reported to the reader, after the last byte: hyper would give a response up
/// that a server sent before it closed without having read the whole request.
pub(super) struct InPieces<S> {
    stream: Take<S>,
    flush: Flush,
    /// Why nothing more can be written.
    failed: Option<io::Error>,
    start: Option<Start>,
}

/// The first bytes that the local server sent on a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Start(Arc<OnceLock<[u8; 16]>>);

impl Start {
    /// The bytes, padded by zeros. Empty before the first is read.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.get().map_or(&[], |bytes| bytes)
    }

    fn set(&self, read: &[u8]) {
        let mut bytes = [0; 16];
        let length = read.len().min(bytes.len());
        bytes[..length].copy_from_slice(&read[..length]);
        // It is set once.
        self.0.set(bytes).ok();
    }
}

impl<S: AsyncRead> InPieces<S> {
    /// Takes a connection over. Its flushes are noted.
    pub(super) fn new(stream: S, flush: Flush, start: Start) -> Self {
        Self {
            stream: stream.take(PIECE),
            flush,
            failed: None,
            start: Some(start),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> InPieces<S> {
    /// Writes, until that has failed once. Whoever reads sees the connection's end soon, and nobody has
    /// to be woken for a write.
    fn attempt<T>(
        &mut self,
        write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.failed.is_some() {
            return Poll::Pending;
        }
        let written = write(Pin::new(self.stream.get_mut()));
        let Poll::Ready(Err(error)) = written else {
            return written;
        };
        self.failed = Some(error);
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InPieces<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The limit is for all reads together, and so begins anew.
        self.stream.set_limit(PIECE);
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(start) = self.start.take() {
            start.set(&buffer.filled()[before..]);
        }
        let is_end = buffer.filled().len() == before && buffer.remaining() > 0;
        match self.failed.take_if(|_| is_end) {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for InPieces<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.attempt(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.attempt(|stream| poll_write_pieces(stream, cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(self.stream.get_mut()).poll_flush(cx))?;
        self.flush.note();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}

/// Somewhat less than the buffer of 128 KiB that hyper then stays with: it takes a larger one where a read
/// has filled it.
const PIECE: u64 = 124 << 10;

#[cfg(test)]
mod tests {
    use futures_util::future::poll_immediate;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::{Flush, InPieces, PIECE, Start};

    #[tokio::test]
    async fn gives_all_bytes_in_pieces_up_to_the_end() {
        let (mut far, near) = duplex(1 << 20);
        let sent: Vec<u8> = (0..300_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let (mut near, mut read, mut pieces) = (
            InPieces::new(near, Flush::default(), Start::default()),
            vec![],
            vec![],
        );
        loop {
            let before = read.len();
            read.reserve(1 << 20);
            match near.read_buf(&mut read).await.unwrap() {
                0 => break,
                _ => pieces.push((read.len() - before) as u64),
            }
        }
        assert_eq!(pieces, [PIECE, PIECE, 300_000 - 2 * PIECE]);
        assert_eq!(read, sent);
    }

    #[tokio::test]
    async fn reads_what_was_sent_before_a_write_failed_and_then_fails() {
        let (mut far, near) = duplex(64);
        let mut near = InPieces::new(near, Flush::default(), Start::default());
        far.write_all(b"said").await.unwrap();
        drop(far);
        let written = poll_immediate(near.write(b"unread")).await;
        assert!(written.is_none(), "{written:?}");
        let mut read = [0; 4];
        near.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"said");
        assert!(near.read(&mut read).await.is_err());
    }
}
