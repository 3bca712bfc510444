//! tungstenite's WebSocket as the protocol's transport, at the relay and at the client.

mod message;

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use ggrok_protocol::{Message, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use self::message::{error, read, write};

/// A WebSocket whose handshake is done. It answers pings by itself, and dropping it closes the connection.
pub struct WebSocket<S>(WebSocketStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The relay's end of a connection.
    pub async fn of_relay(stream: S, config: WebSocketConfig) -> Self {
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config));
        Self(socket.await)
    }

    /// The client's end of a connection, of which the handshake has read `behind` already.
    pub async fn of_client(stream: S, behind: Vec<u8>, config: WebSocketConfig) -> Self {
        let role = Role::Client;
        Self(if behind.is_empty() {
            WebSocketStream::from_raw_socket(stream, role, Some(config)).await
        } else {
            WebSocketStream::from_partially_read(stream, behind, role, Some(config)).await
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.0.poll_next_unpin(cx);
        next.map(|message| message.map(|message| message.map(read).map_err(error)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
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
