//! The library's messages and errors, and the protocol's.

use std::io;

use bytes::Bytes;
use ggrok_protocol::{Ending, Message, TransportError};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;
use tokio_tungstenite::tungstenite::{self, Error, Utf8Bytes};

pub(crate) fn read(message: tungstenite::Message) -> Message {
    match message {
        tungstenite::Message::Text(text) => Message::Text(text.into()),
        tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
        tungstenite::Message::Ping(_) => Message::Ping,
        tungstenite::Message::Pong(_) => Message::Pong,
        tungstenite::Message::Close(frame) => {
            let code = frame.map_or(Ending::Done.code(), |frame| frame.code.into());
            Message::Close(Ending::from_code(code))
        }
        tungstenite::Message::Frame(_) => unreachable!("reading yields whole messages alone"),
    }
}

/// What is sent, and by whom.
pub(crate) enum Outbound {
    /// By us: the payload in its parts.
    Data(Data, [Bytes; 2]),
    /// By the library.
    Control(tungstenite::Message),
}

/// Fails where a text is none, which would make the peer end the connection.
pub(crate) fn write(message: Message) -> Result<Outbound, Error> {
    let control = match message {
        Message::Text(text) => {
            let text = Utf8Bytes::try_from(text).map_err(io::Error::other)?;
            return Ok(Outbound::Data(Data::Text, [text.into(), Bytes::new()]));
        }
        Message::Binary(bytes) => return Ok(Outbound::Data(Data::Binary, [bytes, Bytes::new()])),
        Message::Parts(parts) => return Ok(Outbound::Data(Data::Binary, parts)),
        Message::Ping => tungstenite::Message::Ping(Bytes::new()),
        Message::Pong => tungstenite::Message::Pong(Bytes::new()),
        Message::Close(ending) => tungstenite::Message::Close(Some(CloseFrame {
            code: ending.code().into(),
            reason: Utf8Bytes::from_static(ending.reason()),
        })),
    };
    Ok(Outbound::Control(control))
}

pub(crate) fn error(error: Error) -> TransportError {
    match error {
        Error::Capacity(_) => TransportError::TooBig,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            lost(io::ErrorKind::UnexpectedEof.into())
        }
        Error::Protocol(_) | Error::Utf8(_) => TransportError::Violation(error.to_string()),
        Error::Io(error) => lost(error),
        error => lost(io::Error::other(error)),
    }
}

const fn lost(error: io::Error) -> TransportError {
    TransportError::Lost(error)
}
