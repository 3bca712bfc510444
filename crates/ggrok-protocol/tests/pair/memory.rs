//! A WebSocket in memory.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, SinkExt, Stream};
use ggrok_protocol::{Message, TransportError};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

/// One end of a WebSocket in memory.
pub struct End {
    out: PollSender<Message>,
    pub incoming: mpsc::Receiver<Message>,
}

/// Makes both ends.
pub fn ends() -> (End, End) {
    let (left_out, right_in) = mpsc::channel(4);
    let (right_out, left_in) = mpsc::channel(4);
    let end = |out, incoming| End {
        out: PollSender::new(out),
        incoming,
    };
    (end(left_out, left_in), end(right_out, right_in))
}

impl Stream for End {
    type Item = Result<Message, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.incoming.poll_recv(cx));
        if let (Some(Message::Ping), Some(out)) = (&message, self.out.get_ref()) {
            // A WebSocket library answers pings by itself.
            out.try_send(Message::Pong).ok();
        }
        Poll::Ready(message.map(Ok))
    }
}

fn lost<E>(_: E) -> TransportError {
    TransportError::Lost(std::io::ErrorKind::BrokenPipe.into())
}

impl Sink<Message> for End {
    type Error = TransportError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TransportError>> {
        self.out.poll_ready_unpin(cx).map_err(lost)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), TransportError> {
        let message = match message {
            Message::Parts(parts) => Message::Binary(parts.concat().into()),
            message => message,
        };
        self.out.start_send_unpin(message).map_err(lost)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TransportError>> {
        self.out.poll_flush_unpin(cx).map_err(lost)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), TransportError>> {
        self.out.poll_close_unpin(cx).map_err(lost)
    }
}
