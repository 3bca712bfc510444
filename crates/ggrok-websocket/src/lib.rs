//! tungstenite's WebSocket as the protocol's transport, at the relay and at the client.
//!
//! The library keeps the rules of the closing handshake, answers pings, and reads texts, messages in
//! several frames and what is none. Data are written past it (`outgoing.rs`), and binary messages in one
//! frame are read past it (`incoming.rs`), since it would copy them, or clear the room for them, more often
//! than they need.

mod beneath;
#[cfg(any(test, fuzzing))]
mod beside;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod incoming;
mod mask;
mod message;
mod outgoing;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use ggrok_protocol::{Message, MessageLimit, TransportError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use self::beneath::Beneath;
use self::incoming::Incoming;
use self::message::{Outbound, error, read, write};
use self::outgoing::Outgoing;

/// A WebSocket whose handshake is done. It answers pings by itself, and dropping it closes the connection.
///
/// 16 KiB are read at a time, but of a large message up to 256 KiB. 128 KiB are gathered before a write,
/// or 256 KiB of what need not be copied, or what there is when it is flushed.
pub struct WebSocket<S> {
    socket: WebSocketStream<Beneath<S>>,
    /// Whether a close frame came or went, behind which there are no data (RFC 6455, section 5.5.1), or
    /// the peer is gone.
    closing: bool,
    /// What is due, and whether it knows of an unfinished message.
    limit: Option<(MessageLimit, bool)>,
    /// Whether the peer broke a rule. Nothing of it is read behind that, but it can still be told why.
    refused: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The relay's end of a connection. Messages have `longest` bytes at most.
    pub async fn of_relay(stream: S, longest: usize) -> Self {
        Self::new(stream, Role::Server, Incoming::new(true, longest)).await
    }

    /// The client's end of a connection, of which the handshake has read `behind` already.
    pub async fn of_client(stream: S, behind: &[u8], longest: usize) -> Self {
        let mut incoming = Incoming::new(false, longest);
        incoming.room().extend_from_slice(behind);
        Self::new(stream, Role::Client, incoming).await
    }

    async fn new(stream: S, role: Role, incoming: Incoming) -> Self {
        let config = config(incoming.longest());
        let beneath = Beneath {
            stream,
            incoming,
            outgoing: Outgoing::new(role == Role::Client),
        };
        Self {
            socket: WebSocketStream::from_raw_socket(beneath, role, Some(config)).await,
            closing: false,
            limit: None,
            refused: false,
        }
    }

    /// Bounds the messages that come from now on by what is due to the session that reads them.
    pub fn limit_messages(&mut self, limit: MessageLimit) {
        self.incoming().limit(limit.clone());
        self.limit = Some((limit, false));
    }

    /// Tells the session since when a message is unfinished.
    fn note_unfinished(&mut self, has_message: bool) {
        let is_unfinished = !has_message && self.incoming().is_unfinished();
        if let Some((limit, noted)) = &mut self.limit
            && *noted != is_unfinished
        {
            *noted = is_unfinished;
            limit.note_unfinished(is_unfinished);
        }
    }

    fn incoming(&mut self) -> &mut Incoming {
        &mut self.socket.get_mut().incoming
    }
}

/// The library clears its buffer before it reads. It needs one for control frames, and for pieces of what
/// is larger, which was read already. Of the pongs that a peer does not read only some wait, and the last
/// (RFC 6455, section 5.5.3).
fn config(longest: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(1 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(64 << 10)
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest))
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for WebSocket<S> {
    type Item = Result<Message, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.refused {
            // To close on what still comes would make the peer's system throw away unread what it was told.
            return self.socket.get_mut().poll_discard(cx).map(|()| None);
        }
        let next = loop {
            if let Some(message) = self.incoming().message() {
                self.note_unfinished(true);
                return Poll::Ready(Some(Ok(Message::Binary(message))));
            }
            if let Some(refusal) = self.incoming().refusal() {
                self.refused = true;
                return Poll::Ready(Some(Err(refusal)));
            }
            match self.socket.poll_next_unpin(cx) {
                // It came upon a message that is ours.
                Poll::Pending if self.incoming().has_message() => {}
                Poll::Pending => {
                    self.note_unfinished(false);
                    return Poll::Pending;
                }
                Poll::Ready(next) => break next,
            }
        };
        let next = next.map(|message| message.map(read).map_err(error));
        match next {
            Some(Ok(Message::Close(_)) | Err(TransportError::Lost(_))) | None => {
                self.incoming().end();
                self.closing = true;
            }
            Some(Err(_)) => self.refused = true,
            Some(Ok(Message::Text(_) | Message::Binary(_))) => self.note_unfinished(true),
            Some(Ok(_)) => self.note_unfinished(false),
        }
        Poll::Ready(next)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sink<Message> for WebSocket<S> {
    type Error = TransportError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.socket.get_ref().outgoing.is_full() {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        self.socket.poll_ready_unpin(cx).map_err(error)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        let closes = matches!(message, Message::Close(_));
        let sent = match write(message).map_err(error)? {
            Outbound::Data(..) if self.closing => Err(ProtocolError::SendAfterClosing.into()),
            Outbound::Data(kind, parts) => self.socket.get_mut().outgoing.put(kind, parts),
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
