//! tungstenite's WebSocket as the protocol's transport, at the relay and at the client.
//!
//! The library reads, keeps the rules of the closing handshake, and answers pings. Data are written past
//! it (`outgoing.rs`), since it would copy them more often than they need.

mod mask;
mod message;
mod outgoing;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use ggrok_protocol::{Message, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use self::message::{Outbound, error, read, write};
use self::outgoing::Outgoing;

/// A WebSocket whose handshake is done. It answers pings by itself, and dropping it closes the connection.
///
/// Its configuration's `write_buffer_size` is not used: 128 KiB are gathered before a write, or 256 KiB of
/// what need not be copied, or what there is when it is flushed.
pub struct WebSocket<S> {
    socket: WebSocketStream<Outgoing<S>>,
    /// Whether a close frame came or went, behind which there are no data (RFC 6455, section 5.5.1).
    closing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The relay's end of a connection.
    pub async fn of_relay(stream: S, config: WebSocketConfig) -> Self {
        let stream = Outgoing::new(stream, false);
        let config = config.write_buffer_size(0);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config));
        Self::new(socket.await)
    }

    /// The client's end of a connection, of which the handshake has read `behind` already.
    pub async fn of_client(stream: S, behind: Vec<u8>, config: WebSocketConfig) -> Self {
        let (stream, role) = (Outgoing::new(stream, true), Role::Client);
        let config = config.write_buffer_size(0);
        Self::new(if behind.is_empty() {
            WebSocketStream::from_raw_socket(stream, role, Some(config)).await
        } else {
            WebSocketStream::from_partially_read(stream, behind, role, Some(config)).await
        })
    }

    const fn new(socket: WebSocketStream<Outgoing<S>>) -> Self {
        let closing = false;
        Self { socket, closing }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.socket.poll_next_unpin(cx));
        let next = next.map(|message| message.map(read).map_err(error));
        self.closing |= matches!(next, Some(Ok(Message::Close(_))));
        Poll::Ready(next)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.socket.get_ref().is_full() {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        self.socket.poll_ready_unpin(cx).map_err(error)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        let closes = matches!(message, Message::Close(_));
        let sent = match write(message).map_err(error)? {
            Outbound::Data(..) if self.closing => Err(ProtocolError::SendAfterClosing.into()),
            Outbound::Data(kind, parts) => self.socket.get_mut().put(kind, parts),
            Outbound::Control(control) => self.socket.start_send_unpin(control),
        };
        self.closing |= closes;
        sent.map_err(error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.socket.poll_flush_unpin(cx).map_err(error)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.closing = true;
        self.socket.poll_close_unpin(cx).map_err(error)
    }
}

#[cfg(test)]
mod tests;
