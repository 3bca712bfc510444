//! What comes in: plain messages of data, and what is for the library.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use ggrok_protocol::{Admission, FrameStart, MessageLimit, TransportError};
use tokio::io::ReadBuf;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::mask::apply;

/// What was read of a connection and not taken.
///
/// A binary message in one frame is plain: it becomes a slice of what was read. The library gets the bytes
/// of every other frame, one frame at a time: it keeps the rules for those, and refuses what is none.
pub(crate) struct Incoming {
    read: BytesMut,
    front: Front,
    /// Whether the peer masks, as a client has to (RFC 6455, section 5.3).
    masked: bool,
    longest: usize,
    /// Whether a message in several frames has begun, which the library puts together.
    in_parts: bool,
    /// Bytes of that message.
    assembled: u64,
    /// What is due at the moment, where the session says so.
    limit: Option<MessageLimit>,
    /// Why the next frame is not read.
    refusal: Option<TransportError>,
}

/// Whose the first byte of what was read is.
enum Front {
    /// The header of the next frame has not come, or was not looked at.
    Header,
    /// It is the payload of a plain message.
    Plain { length: usize, mask: [u8; 4] },
    /// So many bytes are the library's, a frame's header and payload.
    Library { left: u64 },
    /// So many bytes are thrown away as they come.
    Skipped { left: u64 },
}

impl Incoming {
    /// Of a peer who masks or not, and whose messages have `longest` bytes at most.
    pub(crate) fn new(masked: bool, longest: usize) -> Self {
        Self {
            read: BytesMut::new(),
            front: Front::Header,
            masked,
            longest,
            in_parts: false,
            assembled: 0,
            limit: None,
            refusal: None,
        }
    }

    /// Bounds the frames that come from now on by what is due.
    pub(crate) fn limit(&mut self, limit: MessageLimit) {
        self.limit = Some(limit);
    }

    /// Takes the reason why the next frame is not read.
    pub(crate) const fn refusal(&mut self) -> Option<TransportError> {
        self.refusal.take()
    }

    /// Whether a part of a message has come, and the rest has not.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.in_parts || !self.read.is_empty() || !matches!(self.front, Front::Header)
    }

    pub(crate) const fn longest(&self) -> usize {
        self.longest
    }

    /// Takes a plain message, where the next frame is one and has come whole.
    pub(crate) fn message(&mut self) -> Option<Bytes> {
        self.look();
        let Front::Plain { length, mask } = self.front else {
            return None;
        };
        if self.read.len() < length {
            return None;
        }
        self.front = Front::Header;
        let mut payload = self.read.split_to(length);
        if self.masked {
            apply(&mut payload, mask);
        }
        if length > ROOM {
            // Or what comes next would lie in its buffer, and keep all of it.
            self.read = BytesMut::from(&self.read[..]);
        }
        Some(payload.freeze())
    }

    /// Whether [`message`](Self::message) or [`refusal`](Self::refusal) has something.
    pub(crate) fn has_message(&self) -> bool {
        self.refusal.is_some()
            || matches!(self.front, Front::Plain { length, .. } if length <= self.read.len())
    }

    /// Gives the library what has come of the frame that is its own. Nothing where that is a plain one,
    /// or where more has to come.
    pub(crate) fn give(&mut self, library: &mut ReadBuf<'_>) {
        self.look();
        let Front::Library { left } = &mut self.front else {
            return;
        };
        let most = self.read.len().min(library.remaining());
        let part = usize::try_from(*left).map_or(most, |left| left.min(most));
        library.put_slice(&self.read[..part]);
        self.read.advance(part);
        *left -= part as u64;
        if *left == 0 {
            self.front = Front::Header;
        }
    }

    /// Leaves to the library whatever still comes: behind a close frame there are no data (RFC 6455, section
    /// 5.5.1), and behind an error nothing is read.
    pub(crate) const fn end(&mut self) {
        self.front = Front::Library { left: u64::MAX };
    }

    /// The buffer to read into, with room for the rest of a plain message and the header behind it: of
    /// large ones behind each other each takes one read, and is not copied.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        let read = self.read.len();
        let least = match self.front {
            Front::Plain { length, .. } => HEADER + length.saturating_sub(read).min(STEP),
            Front::Header | Front::Library { .. } | Front::Skipped { .. } => ROOM / 4,
        };
        if self.read.capacity() - read < least {
            self.read.reserve(least.max(ROOM.saturating_sub(read)));
        }
        &mut self.read
    }

    /// Throws away what has come.
    pub(crate) fn discard(&mut self) {
        self.read.clear();
    }

    /// Gives the room back, where nothing is in it: a tunnel that waits keeps none.
    pub(crate) fn rest(&mut self) {
        if self.read.is_empty() {
            self.read = BytesMut::new();
        }
    }

    /// Looks at the header of the next frame, where that has come.
    fn look(&mut self) {
        loop {
            if let Front::Skipped { left } = &mut self.front {
                let most = self.read.len();
                let part = usize::try_from(*left).map_or(most, |left| left.min(most));
                self.read.advance(part);
                *left -= part as u64;
                if *left > 0 {
                    return;
                }
                self.front = Front::Header;
            }
            if self.refusal.is_some() || !matches!(self.front, Front::Header) {
                return;
            }
            self.look_at_header();
            if !matches!(self.front, Front::Skipped { .. }) {
                return;
            }
        }
    }

    fn look_at_header(&mut self) {
        let mut cursor = Cursor::new(&self.read);
        let parsed = FrameHeader::parse(&mut cursor);
        let header_length = self.read.len() - cursor.remaining();
        self.front = match parsed {
            Ok(None) => return,
            Ok(Some((header, length))) => {
                let plain = self.plain(&header, length);
                let Some(admitted) = self.admit(&header, length, header_length, plain.is_some())
                else {
                    return;
                };
                match (admitted, plain) {
                    (Err(refusal), _) => {
                        self.refusal = Some(refusal);
                        return;
                    }
                    (Ok(Admission::Skip), Some(_)) => {
                        let left = length.saturating_add(header_length as u64);
                        Front::Skipped { left }
                    }
                    (Ok(_), Some(plain)) => {
                        self.read.advance(header_length);
                        plain
                    }
                    (Ok(_), None) => {
                        if let OpCode::Data(_) = header.opcode {
                            self.in_parts = !header.is_final;
                        }
                        let left = length.saturating_add(header_length as u64);
                        Front::Library { left }
                    }
                }
            }
            Err(_) => Front::Library { left: u64::MAX },
        };
    }

    /// Asks whether a frame is due; nothing where more of it has to come before that is known.
    fn admit(
        &mut self,
        header: &FrameHeader,
        length: u64,
        header_length: usize,
        is_plain: bool,
    ) -> Option<Result<Admission, TransportError>> {
        let (Some(limit), OpCode::Data(data)) = (&self.limit, header.opcode) else {
            return Some(Ok(Admission::Read));
        };
        let length = length.saturating_add(self.assembled);
        let mut payload = [0; FrameStart::PEEKED];
        let mut peeked = 0;
        if is_plain && length > FrameStart::SMALL {
            let come = &self.read[header_length..];
            payload = *come.first_chunk()?;
            if let Some(mask) = header.mask {
                apply(&mut payload, mask);
            }
            peeked = payload.len();
        }
        let admitted = limit.admit(FrameStart {
            length,
            is_text: data == Data::Text,
            payload: &payload[..peeked],
        });
        self.assembled = if header.is_final { 0 } else { length };
        Some(admitted)
    }

    /// A frame that is a plain message.
    fn plain(&self, header: &FrameHeader, length: u64) -> Option<Front> {
        let is_plain = header.opcode == OpCode::Data(Data::Binary)
            && header.is_final
            && !(header.rsv1 || header.rsv2 || header.rsv3)
            && header.mask.is_some() == self.masked
            && !self.in_parts;
        let length = usize::try_from(length).ok();
        let length = length.filter(|length| is_plain && *length <= self.longest)?;
        let mask = header.mask.unwrap_or_default();
        Some(Front::Plain { length, mask })
    }
}

/// Bytes of the longest header (RFC 6455, section 5.2).
const HEADER: usize = 14;

/// Bytes of room that a peer gets for what it has only announced.
const STEP: usize = 256 << 10;

/// Bytes that are read at a time. A piece of a body that is kept keeps all of them.
const ROOM: usize = 16 << 10;

#[cfg(test)]
mod tests;
