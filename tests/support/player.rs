//! A client of any dialect, played over the protocol crate alone.

use futures_util::future::ready;
use futures_util::{SinkExt, StreamExt};
use ggrok_protocol::{
    Arrival, Dialect, Ending, IncomingCall, Limits, Message, SessionError, Transport,
    TransportError, accept,
};
use http::{HeaderValue, Response};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Error, Utf8Bytes};

use super::Socket;

/// A handshake of a client that offers `ggrok.v2` and nothing else.
pub fn in_v2(mut handshake: http::Request<()>) -> http::Request<()> {
    let offer = HeaderValue::from_static("ggrok.v2");
    let headers = handshake.headers_mut();
    headers.insert("sec-websocket-protocol", offer);
    handshake
}

/// Answers what is called over a WebSocket, all calls at once, until the tunnel ends.
pub async fn play<F>(
    socket: Socket,
    dialect: Dialect,
    answer: impl Fn(IncomingCall) -> F,
) -> Result<Ending, SessionError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut incoming, session) = accept(dialect, Limits::default());
    let mut calls = JoinSet::new();
    let answering = async {
        while let Some(arrival) = incoming.next().await {
            if let Arrival::Call(call) = arrival {
                calls.spawn(answer(call));
            }
        }
        // The session knows why there are no more.
        std::future::pending().await
    };
    tokio::select! {
        ended = session.run(transport(socket)) => ended,
        never = answering => never,
    }
}

/// Answers a call with a text.
pub async fn say(call: IncomingCall, text: String) {
    call.responder.respond(Response::new(text)).await;
}

/// The WebSocket as the protocol's transport.
fn transport(socket: Socket) -> impl Transport {
    let outward = |message| ready(Ok::<_, TransportError>(write(message)));
    socket
        .sink_map_err(lost)
        .with(outward)
        .map(|message| message.map(read).map_err(lost))
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

fn write(message: Message) -> tungstenite::Message {
    match message {
        Message::Text(bytes) => tungstenite::Message::Text(Utf8Bytes::try_from(bytes).unwrap()),
        Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        Message::Parts(parts) => tungstenite::Message::Binary(parts.concat().into()),
        Message::Ping => tungstenite::Message::Ping(Default::default()),
        Message::Pong => tungstenite::Message::Pong(Default::default()),
        Message::Close(ending) => tungstenite::Message::Close(Some(CloseFrame {
            code: ending.code().into(),
            reason: ending.reason().into(),
        })),
    }
}

fn lost(error: Error) -> TransportError {
    TransportError::Lost(std::io::Error::other(error))
}
