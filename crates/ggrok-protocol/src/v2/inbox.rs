//! What came of a body and was not read.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// What came of a body and was not read, in order. The window of the body bounds its bytes.
#[derive(Debug, Default)]
pub(crate) struct Inbox(VecDeque<Bytes>);

/// Bytes below this are copied, since a slice keeps the whole buffer of the WebSocket alive: a peer
/// could pin 16 KiB by each byte that it sends.
const COPIED: usize = 2 << 10;

impl Inbox {
    /// Adds a piece: a large one as it is, small ones gathered.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.len() >= COPIED {
            self.0.push_back(piece);
            return;
        }
        match self.0.pop_back() {
            Some(last) if last.len() + piece.len() <= COPIED => {
                let mut gathered = last
                    .try_into_mut()
                    .unwrap_or_else(|last| BytesMut::from(&last[..]));
                gathered.extend_from_slice(&piece);
                self.0.push_back(gathered.freeze());
            }
            last => {
                self.0.extend(last);
                self.0.push_back(Bytes::copy_from_slice(&piece));
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        self.0.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{COPIED, Inbox};

    #[test]
    fn keeps_order_and_gathers_what_is_small() {
        let large = Bytes::from(vec![b'x'; COPIED]);
        let mut inbox = Inbox::default();
        for piece in ["a", "b"] {
            inbox.push(Bytes::from_static(piece.as_bytes()));
        }
        inbox.push(large.clone());
        inbox.push(Bytes::from_static(b"c"));
        assert_eq!(inbox.pop().unwrap(), "ab");
        let kept = inbox.pop().unwrap();
        assert_eq!(kept.as_ptr(), large.as_ptr(), "a large piece was copied");
        assert_eq!(inbox.pop().unwrap(), "c");
        assert!(inbox.is_empty());
    }

    #[test]
    fn pins_no_buffer_by_small_pieces() {
        let buffer = Bytes::from(vec![b'x'; 64 << 10]);
        let mut inbox = Inbox::default();
        inbox.push(buffer.slice(7..8));
        assert!(buffer.is_unique(), "a byte keeps the whole buffer");
    }
}
