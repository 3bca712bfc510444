//! A peer that sends faster than it is read.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use ggrok_protocol::{
    CallError, Dialect, Ending, Limits, Message, SessionError, TransportError, accept, open,
};
use http::Request;
use http_body_util::Empty;

/// A WebSocket on which there is always something to read, up to its end.
struct Flood {
    left: usize,
}

const FLOOD: usize = 100_000;

impl Stream for Flood {
    type Item = Result<Message, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.left = left;
        Poll::Ready(Some(Ok(Message::Pong)))
    }
}

impl Sink<Message> for Flood {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Message) -> Result<(), Self::Error> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
}

/// To read all would end the tunnel too, but for another reason.
#[tokio::test(start_paused = true)]
async fn a_tunnel_is_closed_though_its_peer_never_stops() {
    for &dialect in Dialect::ALL {
        let (tunnel, relay) = open(dialect, Limits::default());
        tunnel.close(Ending::Replaced);
        let ended = relay.run(Flood { left: FLOOD }).await.unwrap();
        assert_eq!(ended, Ending::Replaced, "{dialect:?}");

        let (incoming, client) = accept(dialect, Limits::default());
        drop(incoming);
        let ended = client.run(Flood { left: FLOOD }).await.unwrap();
        assert_eq!(ended, Ending::Done, "{dialect:?}");
    }
}

/// Where a session keeps the deadline of its one call.
#[tokio::test(start_paused = true)]
async fn a_call_times_out_though_its_peer_never_stops() {
    for dialect in [Dialect::Ggrok, Dialect::MagicMirror] {
        let limits = Limits {
            call_timeout: Duration::ZERO,
            ..Limits::default()
        };
        let (tunnel, relay) = open(dialect, limits);
        let request = Request::get("http://a.test/").body(Empty::<Bytes>::new());
        let flood = Flood { left: FLOOD };
        let (called, ended) = tokio::join!(tunnel.call(request.unwrap()), relay.run(flood));
        assert!(matches!(called, Err(CallError::TimedOut)), "{dialect:?}");
        let ended = ended.unwrap_err();
        assert!(matches!(ended, SessionError::CallTimedOut), "{ended}");
    }
}
