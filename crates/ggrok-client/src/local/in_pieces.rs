//! A connection that is read piece by piece.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use ggrok_protocol::poll_write_pieces;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

/// Reads at most [`PIECE`] bytes at a time. hyper takes 256 KiB at once of a large body, and more of it has
/// left the processor's cache before it is on its way.
pub(super) struct InPieces<S>(Take<S>);

impl<S: AsyncRead> InPieces<S> {
    pub(super) fn new(stream: S) -> Self {
        Self(stream.take(PIECE))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InPieces<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The limit is for all reads together, and so begins anew.
        self.0.set_limit(PIECE);
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for InPieces<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.0.get_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_pieces(Pin::new(self.0.get_mut()), cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.0.get_mut()).poll_shutdown(cx)
    }
}

/// Somewhat less than the buffer of 128 KiB that hyper then stays with: it takes a larger one where a read
/// has filled it.
const PIECE: u64 = 124 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::{InPieces, PIECE};

    #[tokio::test]
    async fn gives_all_bytes_in_pieces_up_to_the_end() {
        let (mut far, near) = duplex(1 << 20);
        let sent: Vec<u8> = (0..300_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let (mut near, mut read, mut pieces) = (InPieces::new(near), vec![], vec![]);
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
}
