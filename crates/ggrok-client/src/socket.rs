//! tungstenite's WebSocket as the protocol's transport.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use ggrok_protocol::{Ending, Message, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Error, Utf8Bytes};

/// tungstenite's WebSocket as the protocol's transport.
pub(crate) struct Socket<S>(WebSocketStream<S>);

impl<S> Socket<S> {
    pub(crate) const fn new(socket: WebSocketStream<S>) -> Self {
        Self(socket)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Socket<S> {
    type Item = Result<Message, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.0.poll_next_unpin(cx);
        next.map(|message| message.map(|message| message.map(read).map_err(error)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for Socket<S> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready_unpin(cx).map_err(error)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        self.0.start_send_unpin(write(message)?).map_err(error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_flush_unpin(cx).map_err(error)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_close_unpin(cx).map_err(error)
    }
}

fn read(message: tungstenite::Message) -> Message {
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

fn write(message: Message) -> Result<tungstenite::Message, TransportError> {
    Ok(match message {
        Message::Text(bytes) => tungstenite::Message::Text(
            Utf8Bytes::try_from(bytes).map_err(|error| lost(io::Error::other(error)))?,
        ),
        Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        Message::Ping => tungstenite::Message::Ping(Bytes::new()),
        Message::Pong => tungstenite::Message::Pong(Bytes::new()),
        Message::Close(ending) => tungstenite::Message::Close(Some(CloseFrame {
            code: ending.code().into(),
            reason: Utf8Bytes::from_static(ending.reason()),
        })),
    })
}

fn error(error: Error) -> TransportError {
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
