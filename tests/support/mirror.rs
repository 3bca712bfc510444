//! magic-mirror's client in this process, in the Go program's place.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::{Answer, PATIENCE, Socket, dial, handshake, raw};

/// What was recorded from magic-mirror's own client.
pub const MAGIC_MIRROR: &str =
    include_str!("../../crates/ggrok-protocol/tests/fixtures/magic-mirror-client-answers.json");

/// A request as its envelope tells it.
#[derive(Clone, Debug)]
pub struct Asked(Value);

impl Asked {
    /// Reads an envelope.
    pub fn of(envelope: &str) -> Self {
        let envelope = BASE64_STANDARD.decode(envelope).unwrap();
        Self(serde_json::from_slice(&envelope).unwrap())
    }

    pub fn method(&self) -> &str {
        self.0["method"].as_str().unwrap()
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        let uri = self.0["uri"].as_str().unwrap();
        let rest = uri.split_once("://").unwrap().1;
        &rest[rest.find('/').unwrap()..]
    }

    pub fn body(&self) -> Vec<u8> {
        BASE64_STANDARD
            .decode(self.0["body"].as_str().unwrap())
            .unwrap()
    }

    /// All values of a field, in order.
    pub fn field(&self, name: &str) -> Vec<&str> {
        let fields = self.0["headers"].as_object().unwrap();
        let of_name = fields
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        of_name
            .flat_map(|(_, values)| values.as_array().unwrap())
            .map(|value| value.as_str().unwrap())
            .collect()
    }

    /// Everything, as text.
    pub fn shown(&self) -> String {
        self.0.to_string()
    }
}

/// The envelope of an answer.
pub fn answered(status: u16, body: impl AsRef<[u8]>) -> String {
    let body = BASE64_STANDARD.encode(body);
    let envelope = json!({ "status_code": status, "headers": {}, "body": body });
    BASE64_STANDARD.encode(envelope.to_string())
}

/// A mirror that answers every envelope. Dropping it cuts its connection.
pub struct Mirror {
    /// Where the relay says that it can be reached.
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<Option<u16>>,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mirror {
    /// Registers under a name, and answers by a function from requests to envelopes.
    pub async fn start(
        relay: SocketAddr,
        name: &str,
        token: &str,
        answer: impl Fn(&Asked) -> String + Send + 'static,
    ) -> Self {
        let target = format!("/_ggrok/mirror?name={name}");
        Self::dialled(handshake(relay, &target, token), answer).await
    }

    /// Registers under a name, and says the same to everybody.
    pub async fn saying(relay: SocketAddr, name: &str, token: &str, text: &'static str) -> Self {
        Self::start(relay, name, token, move |_| answered(200, text)).await
    }

    /// Registers with a handshake, and answers by a function from requests to envelopes.
    pub async fn dialled(
        handshake: http::Request<()>,
        answer: impl Fn(&Asked) -> String + Send + 'static,
    ) -> Self {
        let (socket, response) = dial(handshake).await;
        let address = response.headers()["x-ggrok-address"].to_str().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        Self {
            address: address.to_owned(),
            asked: Arc::clone(&asked),
            task: tokio::spawn(serve(socket, asked, answer)),
        }
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The last request.
    pub fn last(&self) -> Asked {
        self.asked().pop().expect("the mirror was asked nothing")
    }

    /// Waits until the relay has closed the tunnel, and returns the code of its close frame.
    pub async fn closed(&mut self) -> Option<u16> {
        let ended = timeout(PATIENCE, &mut self.task).await;
        ended.expect("the relay does not close").unwrap()
    }

    /// Whether its tunnel is still there.
    pub fn is_connected(&self) -> bool {
        !self.task.is_finished()
    }
}

async fn serve(
    mut socket: Socket,
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: impl Fn(&Asked) -> String,
) -> Option<u16> {
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(envelope) => {
                let request = Asked::of(&envelope);
                let envelope = answer(&request);
                asked.lock().unwrap().push(request);
                socket.send(Message::text(envelope)).await.ok()?;
            }
            Message::Close(frame) => return frame.map(|frame| frame.code.into()),
            _ => {}
        }
    }
    None
}

/// Asks the relay's API as an owner's program does, with the start of a request line.
pub async fn ask(relay: SocketAddr, line: &str, token: &str) -> Answer {
    raw(
        relay,
        format!(
            "{line} HTTP/1.1\r\nHost: {relay}\r\nX-Ggrok-Token: {token}\r\nConnection: close\r\n\r\n"
        ),
    )
    .await
}

/// The mirrors that the relay lists to an owner.
pub async fn listed(relay: SocketAddr, token: &str) -> Vec<Value> {
    let answer = ask(relay, "GET /_ggrok/mirrors", token).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// The names of the mirrors that the relay lists to an owner.
pub async fn names(relay: SocketAddr, token: &str) -> Vec<String> {
    let mirrors = listed(relay, token).await;
    let names = mirrors
        .iter()
        .map(|mirror| mirror["name"].as_str().unwrap());
    names.map(ToOwned::to_owned).collect()
}
