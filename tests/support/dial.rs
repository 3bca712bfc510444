//! A client's WebSocket, as the scenario itself dials it.

use std::net::SocketAddr;

use futures_util::StreamExt;
use http::Response;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// A client's end of a tunnel.
pub type Socket = WebSocketStream<TcpStream>;

/// The handshake that magic-mirror's own client sent, but for whom it is sent to, its target and its
/// token.
pub fn handshake(relay: SocketAddr, target: &str, token: &str) -> http::Request<()> {
    let recorded: Value = serde_json::from_str(super::MAGIC_MIRROR).unwrap();
    let mut handshake = http::Request::get(format!("ws://{relay}{target}"));
    for field in recorded["_handshake"]["headers"].as_array().unwrap() {
        let (name, value) = (field[0].as_str().unwrap(), field[1].as_str().unwrap());
        handshake = match name {
            "Host" => handshake.header(name, relay.to_string()),
            "Authorization" => handshake.header(name, format!("Bearer {token}")),
            _ => handshake.header(name, value),
        };
    }
    handshake.body(()).unwrap()
}

/// Shakes hands with a relay that lets the client in.
pub async fn dial(handshake: http::Request<()>) -> (Socket, Response<Option<Vec<u8>>>) {
    let relay = handshake.uri().authority().unwrap().as_str().to_owned();
    let stream = TcpStream::connect(relay).await.unwrap();
    match client_async(handshake, stream).await {
        Ok(connected) => connected,
        Err(Error::Http(refused)) => panic!("refused: {refused:?}"),
        Err(error) => panic!("no handshake: {error}"),
    }
}

/// Status, error and text of the answer to a handshake that is refused.
pub async fn refused(handshake: http::Request<()>) -> (u16, String, String) {
    let relay = handshake.uri().authority().unwrap().as_str().to_owned();
    let stream = TcpStream::connect(relay).await.unwrap();
    let Err(Error::Http(answer)) = client_async(handshake, stream).await else {
        panic!("it was not refused by an HTTP answer");
    };
    let error = answer.headers()["x-ggrok-error"].to_str().unwrap();
    let text = answer.body().clone().unwrap_or_default();
    (
        answer.status().as_u16(),
        error.to_owned(),
        String::from_utf8(text).unwrap(),
    )
}

/// The code of the close frame by which a relay ends a tunnel that it says nothing else over.
pub async fn close_code(socket: &mut Socket) -> Option<u16> {
    let closing = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                return frame.map(|frame| frame.code.into());
            }
        }
        None
    };
    let closed = tokio::time::timeout(super::PATIENCE, closing).await;
    closed.expect("the relay does not close")
}
