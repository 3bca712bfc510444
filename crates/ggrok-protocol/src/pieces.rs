//! Several pieces of memory, written to a socket at once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

/// Writes pieces after each other, as [`AsyncWrite::poll_write_vectored`] does, but little as one piece: a
/// system has more to do for `writev`, even with one, than a copy of some bytes costs.
pub fn poll_write_pieces<S: AsyncWrite>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [piece] = pieces {
        return stream.poll_write(cx, piece);
    }
    let length = pieces.iter().map(|piece| piece.len()).sum();
    if length > LITTLE {
        return stream.poll_write_vectored(cx, pieces);
    }
    let mut whole = Vec::with_capacity(length);
    for piece in pieces {
        whole.extend_from_slice(piece);
    }
    stream.poll_write(cx, &whole)
}

/// Bytes that are rather copied.
const LITTLE: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::AsyncWrite;

    use super::{LITTLE, poll_write_pieces};

    /// Notes what is written to it, and how.
    #[derive(Default)]
    struct Notes {
        bytes: Vec<u8>,
        writes: Vec<&'static str>,
    }

    impl AsyncWrite for Notes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.bytes.extend_from_slice(bytes);
            self.writes.push("write");
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.writes.push("writev");
            let before = self.bytes.len();
            for piece in pieces {
                self.bytes.extend_from_slice(piece);
            }
            Poll::Ready(Ok(self.bytes.len() - before))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn writes_all_pieces_in_order_and_little_as_one() {
        let large = vec![b'x'; LITTLE];
        for (pieces, write) in [
            (&[][..], "write"),
            (&[&large[..]], "write"),
            (&[b"head", b"", b"body"], "write"),
            (&[&large[4..], b"body"], "write"),
            (&[&large[3..], b"body"], "writev"),
        ] {
            let mut notes = Notes::default();
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let written = poll_fn(|cx| poll_write_pieces(Pin::new(&mut notes), cx, &slices)).await;
            let whole = pieces.concat();
            assert_eq!(written.unwrap(), whole.len());
            assert_eq!(notes.bytes, whole);
            assert_eq!(notes.writes, [write]);
        }
    }
}
