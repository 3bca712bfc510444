//! What goes out: whole frames, in their order.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use ggrok_protocol::poll_write_pieces;
use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::mask::put_masked;

/// What waits to be written to a connection.
///
/// The library copies each message into one buffer, and moves there what a write has left over. So data
/// are put here past it: a large piece as it is, or masked while it is copied. What the library itself
/// sends takes its place behind them: a frame never begins within another one.
pub(crate) struct Outgoing {
    /// Whether frames are masked, as a client has to (RFC 6455, section 5.3).
    masks: bool,
    waiting: Pieces,
    /// How much of what the library has to write waits here already.
    taken: usize,
}

impl Outgoing {
    pub(crate) fn new(masks: bool) -> Self {
        Self {
            masks,
            waiting: Pieces::default(),
            taken: 0,
        }
    }

    /// Whether so much waits that it has to be written before more is put.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.last.len() >= FULL_COPY || self.waiting.remaining() >= FULL
    }

    /// Puts a message behind what waits, as one frame. A flush is what sends it.
    pub(crate) fn put(&mut self, kind: Data, parts: [Bytes; 2]) -> Result<(), tungstenite::Error> {
        let length: usize = parts.iter().map(Bytes::len).sum();
        let mask = self.masks.then(rand::random);
        let header = FrameHeader {
            opcode: OpCode::Data(kind),
            mask,
            ..FrameHeader::default()
        };
        let last = &mut self.waiting.last;
        header.format(length as u64, &mut last.writer())?;
        match mask {
            Some(mask) => put_masked(last, &parts, mask),
            None => parts.into_iter().for_each(|part| self.waiting.put(part)),
        }
        Ok(())
    }

    /// Writes what the library sends of itself, and says so once it is out. The library comes with the
    /// same bytes again until then, and with more behind them.
    pub(crate) fn poll_write_behind(
        &mut self,
        stream: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.waiting.last.extend_from_slice(&bytes[self.taken..]);
        self.taken = bytes.len();
        ready!(self.poll_write(stream, cx))?;
        self.taken = 0;
        Poll::Ready(Ok(bytes.len()))
    }

    /// Writes all that waits.
    pub(crate) fn poll_write(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.waiting.has_remaining() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.waiting.chunks_vectored(&mut slices);
            match ready!(poll_write_pieces(stream.as_mut(), cx, &slices[..filled]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.waiting.advance(written),
            }
        }
        self.waiting.rest();
        Poll::Ready(Ok(()))
    }
}

/// Bytes in pieces: large ones as they came, and between them what was put together of small ones.
#[derive(Default)]
struct Pieces {
    first: VecDeque<Bytes>,
    /// The length of the `first` together.
    length: usize,
    last: BytesMut,
}

impl Pieces {
    fn put(&mut self, piece: Bytes) {
        if piece.len() < LARGE {
            return self.last.extend_from_slice(&piece);
        }
        let before = self.last.split().freeze();
        let pieces = [before, piece].into_iter();
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            self.length += piece.len();
            self.first.push_back(piece);
        }
    }

    /// Gives back the room that one very large message has needed.
    fn rest(&mut self) {
        if self.last.try_reclaim(TOO_MUCH) {
            self.last = BytesMut::new();
        }
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.length + self.last.len()
    }

    fn chunk(&self) -> &[u8] {
        self.first.front().map_or(&self.last, |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let first = self.first.iter().map(|piece| &piece[..]);
        let pieces = first.chain([&self.last[..]]);
        let filled = slices
            .iter_mut()
            .zip(pieces.filter(|piece| !piece.is_empty()));
        filled
            .map(|(slice, piece)| *slice = IoSlice::new(piece))
            .count()
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.first.front_mut() {
            let part = piece.len().min(written);
            piece.advance(part);
            self.length -= part;
            written -= part;
            if !piece.is_empty() {
                return;
            }
            self.first.pop_front();
        }
        self.last.advance(written);
    }
}

/// Bytes that may wait.
const FULL: usize = 256 << 10;

/// Bytes of what was copied. More of it would have left the processor's cache before it is written.
const FULL_COPY: usize = 128 << 10;

/// Bytes of room that no batch of usual messages needs.
const TOO_MUCH: usize = 4 * FULL_COPY;

/// Bytes of a piece that is rather not copied.
const LARGE: usize = 4 << 10;

/// Pieces of one write.
const SLICES: usize = 32;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use bytes::Bytes;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;

    use super::{FULL_COPY, Outgoing, TOO_MUCH};

    #[tokio::test]
    async fn keeps_the_room_for_usual_messages_alone() {
        let mut outgoing = Outgoing::new(true);
        let mut sink = pin!(tokio::io::sink());
        for (length, is_kept) in [(FULL_COPY, true), (TOO_MUCH, false)] {
            let message = [Bytes::from(vec![b'x'; length]), Bytes::new()];
            outgoing.put(Data::Binary, message).unwrap();
            poll_fn(|cx| outgoing.poll_write(sink.as_mut(), cx))
                .await
                .unwrap();
            assert_eq!(outgoing.waiting.last.try_reclaim(length), is_kept);
        }
    }
}
