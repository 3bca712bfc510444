//! One WebSocket as the protocol sees it, free of any WebSocket crate.

use bytes::Bytes;
use futures_util::{Sink, Stream};

use crate::TransportError;

/// One WebSocket message (RFC 6455, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message. Whoever makes one promises that it is UTF-8.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A binary message in two parts, which saves its sender a copy. It arrives as
    /// [`Message::Binary`].
    Parts([Bytes; 2]),
    /// A ping. The transport answers those that it reads.
    Ping,
    /// A pong.
    Pong,
    /// A close frame: the last message of its sender.
    Close(Ending),
}

/// Why a tunnel ends, as the code of a WebSocket close frame (RFC 6455, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The sender has finished.
    Done,
    /// The sender stops, or is replaced by a new instance of itself.
    GoingAway,
    /// The peer broke the rules of the dialect.
    Violation,
    /// A message of the peer was over the limit.
    TooBig,
    /// A call was not answered in time, and the dialect has no other way to give it up.
    TimedOut,
    /// Another client has taken over the host or the name.
    Replaced,
    /// What the client's token granted has ended. The next handshake tells whether it grants anything
    /// else.
    Revoked,
    /// The owner closed the tunnel at the relay.
    Removed,
    /// Any other code.
    Other(u16),
}

impl Ending {
    /// Reads the code of a close frame.
    #[must_use]
    pub const fn from_code(code: u16) -> Self {
        match code {
            1000 => Self::Done,
            1001 => Self::GoingAway,
            1002 => Self::Violation,
            1009 => Self::TooBig,
            4401 => Self::Revoked,
            4408 => Self::TimedOut,
            4409 => Self::Replaced,
            4410 => Self::Removed,
            other => Self::Other(other),
        }
    }

    /// The code of the close frame. Codes from 4000 on are ours, and borrow HTTP's numbers.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Done => 1000,
            Self::GoingAway => 1001,
            Self::Violation => 1002,
            Self::TooBig => 1009,
            Self::TimedOut => 4408,
            Self::Replaced => 4409,
            Self::Revoked => 4401,
            Self::Removed => 4410,
            Self::Other(code) => code,
        }
    }

    /// The reason that goes along with the code, for a person who reads a log.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::GoingAway => "going away",
            Self::Violation => "protocol violation",
            Self::TooBig => "message over the limit",
            Self::TimedOut => "a call was not answered in time",
            Self::Replaced => "another client took over",
            Self::Revoked => "what the token granted has ended",
            Self::Removed => "closed by its owner",
            Self::Other(_) => "closed",
        }
    }
}

/// One WebSocket: a stream and a sink of messages.
///
/// A transport answers pings by itself, refuses messages over its owner's limit, and closes its
/// connection when it is dropped.
pub trait Transport:
    Stream<Item = Result<Message, TransportError>>
    + Sink<Message, Error = TransportError>
    + Send
    + Unpin
    + 'static
{
}

impl<T> Transport for T where
    T: Stream<Item = Result<Message, TransportError>>
        + Sink<Message, Error = TransportError>
        + Send
        + Unpin
        + 'static
{
}

#[cfg(test)]
mod tests {
    use super::Ending;

    #[test]
    fn reads_every_code_that_it_writes() {
        for code in 1000..5000 {
            assert_eq!(Ending::from_code(code).code(), code);
        }
    }
}
