//! axum's WebSocket as the protocol's transport.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::ws::{self, CloseFrame, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use ggrok_protocol::{Ending, Message, TransportError};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use crate::seen::Seen;

/// axum's WebSocket as the protocol's transport. It notes when something comes.
pub(crate) struct Socket {
    socket: WebSocket,
    seen: Seen,
}

impl Socket {
    pub(crate) const fn new(socket: WebSocket, seen: Seen) -> Self {
        Self { socket, seen }
    }
}

impl Stream for Socket {
    type Item = Result<Message, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.socket.poll_next_unpin(cx);
        if matches!(next, Poll::Ready(Some(Ok(_)))) {
            self.seen.note();
        }
        next.map(|message| message.map(|message| message.map(read).map_err(error)))
    }
}

impl Sink<Message> for Socket {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.socket.poll_ready_unpin(cx).map_err(error)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        self.socket.start_send_unpin(write(message)?).map_err(error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.socket.poll_flush_unpin(cx).map_err(error)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.socket.poll_close_unpin(cx).map_err(error)
    }
}

fn read(message: ws::Message) -> Message {
    match message {
        ws::Message::Text(text) => Message::Text(text.into()),
        ws::Message::Binary(bytes) => Message::Binary(bytes),
        ws::Message::Ping(_) => Message::Ping,
        ws::Message::Pong(_) => Message::Pong,
        ws::Message::Close(frame) => {
            let code = frame.map_or(Ending::Done.code(), |frame| frame.code);
            Message::Close(Ending::from_code(code))
        }
    }
}

fn write(message: Message) -> Result<ws::Message, TransportError> {
    Ok(match message {
        Message::Text(bytes) => ws::Message::Text(
            Utf8Bytes::try_from(bytes).map_err(|error| lost(io::Error::other(error)))?,
        ),
        Message::Binary(bytes) => ws::Message::Binary(bytes),
        Message::Ping => ws::Message::Ping(Bytes::new()),
        Message::Pong => ws::Message::Pong(Bytes::new()),
        Message::Close(ending) => ws::Message::Close(Some(CloseFrame {
            code: ending.code(),
            reason: Utf8Bytes::from_static(ending.reason()),
        })),
    })
}

fn error(error: axum::Error) -> TransportError {
    match error.into_inner().downcast::<Error>().map(|error| *error) {
        Ok(Error::Capacity(_)) => TransportError::TooBig,
        Ok(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
            lost(io::ErrorKind::UnexpectedEof.into())
        }
        Ok(error @ (Error::Protocol(_) | Error::Utf8(_))) => {
            TransportError::Violation(error.to_string())
        }
        Ok(Error::Io(error)) => lost(error),
        Ok(error) => lost(io::Error::other(error)),
        Err(error) => lost(io::Error::other(error)),
    }
}

const fn lost(error: io::Error) -> TransportError {
    TransportError::Lost(error)
}
