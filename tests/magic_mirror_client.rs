//! The client in the place of magic-mirror's, at a server that the scenario plays.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use ggrok_client::{Claim, Config, ConnectError, Event, RemoteAddress, RunError, Token};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::support::{CLOSE, Client, Origin, PATIENCE, Program, Seen};

const CLIENT_ANSWERS: &str =
    include_str!("../crates/ggrok-protocol/tests/fixtures/magic-mirror-client-answers.json");

fn recorded() -> serde_json::Map<String, Value> {
    serde_json::from_str(CLIENT_ANSWERS).unwrap()
}

fn decoded(text: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap()
}

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

/// magic-mirror's server: it passes over what a client offers, and asks one thing after another.
struct Server(TcpListener);

impl Server {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("ws://{}/mirror", self.0.local_addr().unwrap())
    }

    /// The settings of a client with a name and a key.
    fn config(&self, local: &str) -> Config {
        let remote: RemoteAddress = self.url().parse().unwrap();
        let mirror = remote.mirror("localprometheus".parse().unwrap());
        let mut config = Config::new(remote.relay, local.parse().unwrap());
        config.claim = Claim::Mirror(mirror);
        config.token = Token::new("k-123");
        config
    }

    /// Lets a client in: ours offers our own dialect, sees that it is passed over, and comes back
    /// without the offer.
    async fn admit(&self) -> Tunnel {
        let (mut declined, offering) = self.accept().await;
        assert_eq!(offering.headers()["sec-websocket-protocol"], "ggrok.v2");
        let next = declined.next().await;
        assert!(!matches!(next, Some(Ok(_))), "it went on as if chosen");

        let (socket, handshake) = self.accept().await;
        assert!(!handshake.headers().contains_key("sec-websocket-protocol"));
        assert_eq!(handshake.uri(), offering.uri());
        Tunnel { socket, handshake }
    }

    async fn accept(&self) -> (WebSocketStream<TcpStream>, Request) {
        let (stream, _) = timeout(PATIENCE, self.0.accept()).await.unwrap().unwrap();
        let mut handshake = Request::default();
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            handshake = request.clone();
            Ok(response)
        };
        let socket = accept_hdr_async(stream, look).await.unwrap();
        (socket, handshake)
    }
}

/// A client that was let in.
struct Tunnel {
    socket: WebSocketStream<TcpStream>,
    handshake: Request,
}

impl Tunnel {
    /// Sends a message and returns what is in the envelope of the next one.
    async fn ask(&mut self, message: &str) -> Value {
        self.socket.send(Message::text(message)).await.unwrap();
        let answer = timeout(PATIENCE, self.socket.next()).await;
        let answer = answer.expect("no answer in time").unwrap().unwrap();
        let envelope = BASE64_STANDARD.decode(answer.to_text().unwrap()).unwrap();
        serde_json::from_slice(&envelope).unwrap()
    }

    async fn call(&mut self, request: &Value) -> Value {
        self.ask(&BASE64_STANDARD.encode(request.to_string())).await
    }
}

#[tokio::test]
async fn answers_as_magic_mirrors_client_does() {
    let entries = recorded();
    let answers = entries.clone();
    let origin = Origin::start(move |seen: &Seen| {
        let name = seen.target().trim_matches('/').split('?').next().unwrap();
        let mut bytes = decoded(&answers[name]["origin_answered_b64"]);
        if bytes.starts_with(b"HTTP/1.0") {
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            let end = end.unwrap() + 2;
            bytes.splice(end..end, CLOSE.iter().copied());
        }
        bytes
    })
    .await;
    let server = Server::start().await;
    let local = origin.address.to_string();
    let mut client = Client::launch(server.config(&local));
    let mut tunnel = server.admit().await;
    let theirs = &entries["_handshake"];
    assert_eq!(tunnel.handshake.uri(), theirs["path"].as_str().unwrap());
    assert_eq!(tunnel.handshake.headers()["authorization"], "Bearer k-123");
    let url = client.await_ready().await;
    assert_eq!(url, format!("{}?name=localprometheus", server.url()));

    for (name, entry) in entries.iter().filter(|(name, _)| !name.starts_with('_')) {
        let mut ours = tunnel.ask(entry["sent"].as_str().unwrap()).await;
        let seen = origin.last();
        assert_eq!(seen.line(), format!("POST /{name}?q=1 HTTP/1.1"));
        assert_eq!(seen.body, b"\0body\xff", "{name}");
        assert_eq!(seen.field("x-a"), ["1", "2"], "{name}");
        assert_eq!(seen.field("host"), [&*local], "{name}");
        if name == "redirect" {
            let location = &ours["headers"]["Location"][0];
            assert_eq!(
                (&ours["status_code"], location),
                (&302.into(), &"/ok".into())
            );
            continue;
        }
        ours["headers"]
            .as_object_mut()
            .unwrap()
            .remove("Connection");
        let theirs: Value = serde_json::from_slice(&decoded(&entry["envelope"])).unwrap();
        assert_eq!(ours, theirs, "{name}");
    }
}

#[tokio::test]
async fn takes_a_request_without_fields_or_body() {
    let origin = Origin::start(ok).await;
    let server = Server::start().await;
    let _client = Client::launch(server.config(&origin.address.to_string()));
    let mut tunnel = server.admit().await;
    for round in 0..3 {
        let uri = format!("/{round}");
        let request = json!({"method": "GET", "uri": uri, "body": null, "headers": null});
        let answer = tunnel.call(&request).await;
        assert_eq!(answer["status_code"], 200);
        assert_eq!(decoded(&answer["body"]), b"hi");
        assert_eq!(origin.last().line(), format!("GET /{round} HTTP/1.1"));
        assert_eq!(origin.last().body, b"");
    }
}

#[tokio::test]
async fn tells_what_magic_mirrors_client_keeps_to_itself() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = free.local_addr().unwrap();
    drop(free);
    let server = Server::start().await;
    let _client = Client::launch(server.config(&local.to_string()));
    let mut tunnel = server.admit().await;
    let request = json!({"method": "GET", "uri": "http://x/", "body": "", "headers": {}});
    for _ in 0..2 {
        let answer = tunnel.call(&request).await;
        assert_eq!(answer["status_code"], 502);
        assert_eq!(answer["headers"]["X-Ggrok-Error"][0], "local-unreachable");
    }
}

#[tokio::test]
async fn goes_where_it_was_told_whatever_a_server_sends() {
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let evil = trap.local_addr().unwrap();
    let origin = Origin::start(ok).await;
    let server = Server::start().await;
    let _client = Client::launch(server.config(&origin.address.to_string()));
    let mut tunnel = server.admit().await;
    for (uri, status) in [
        (format!("http://{evil}/x"), 200),
        (format!("https://{evil}"), 200),
        (format!("http://user@{evil}/x?y"), 200),
        ("http://169.254.169.254/".to_owned(), 200),
        (format!("//{evil}/x"), 200),
        (format!("/\\\\{evil}/x"), 200),
        (format!("\\\\{evil}/x"), 502),
        (format!("@{evil}/x"), 502),
        (format!("{evil}"), 502),
        (format!("evil.example:{}", evil.port()), 502),
        (format!("/ HTTP/1.1\r\nHost: {evil}\r\n\r\n"), 502),
        (String::new(), 502),
    ] {
        let headers = json!({"Host": [evil.to_string()], "X-Forwarded-Host": [evil.to_string()]});
        let request = json!({"method": "GET", "uri": uri, "body": "", "headers": headers});
        let answer = tunnel.call(&request).await;
        assert_eq!(answer["status_code"], status, "{uri:?}");
    }
    assert_eq!(origin.seen().len(), 6);
    let trapped = timeout(std::time::Duration::from_millis(50), trap.accept()).await;
    assert!(trapped.is_err(), "the client dialled another address");
}

#[tokio::test]
async fn comes_back_after_a_lost_connection() {
    let origin = Origin::start(ok).await;
    let server = Server::start().await;
    let mut client = Client::launch(server.config(&origin.address.to_string()));
    let request = json!({"method": "GET", "uri": "/", "body": "", "headers": {}});
    for _ in 0..3 {
        let mut tunnel = server.admit().await;
        client.await_ready().await;
        assert_eq!(tunnel.call(&request).await["status_code"], 200);
        drop(tunnel);
        while !matches!(client.event().await, Event::Waiting { .. }) {}
    }
}

#[tokio::test]
async fn ends_with_what_a_server_says_that_refuses_it() {
    let refuse = |_: &Seen| {
        b"HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain; charset=utf-8\r\n\
          Content-Length: 26\r\n\r\nno such key\n\x1b[2J and more"
            .to_vec()
    };
    let server = Origin::start(refuse).await;
    let remote = format!("ws://{}/mirror?team=a", server.address);
    let mut command = Program::command("ggrok-client");
    command.args(["-remote", &remote, "-name", "blog", "-local", "3000"]);
    command.args(["-apikey", "k-123"]);
    let mut client = Program::start_with_stderr(&mut command);
    let line = client.line_with("refuses").await;
    assert!(line.ends_with("401 Unauthorized: no such key"), "{line}");
    assert_eq!(client.ended().await.code(), Some(4));
    let asked = server.last();
    assert_eq!(asked.target(), "/mirror?team=a&name=blog");
    assert_eq!(asked.field("authorization"), ["Bearer k-123"]);
}

#[tokio::test]
async fn waits_for_a_server_that_is_not_there_yet() {
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let server = Origin::start(move |_: &Seen| head.clone().into_bytes()).await;
        let remote = format!("ws://{}/mirror", server.address);
        let remote: RemoteAddress = remote.parse().unwrap();
        let mirror = remote.mirror("blog".parse().unwrap());
        let mut config = Config::new(remote.relay, "3000".parse().unwrap());
        config.claim = Claim::Mirror(mirror);
        let mut client = Client::launch(config);
        let mut reasons = Vec::new();
        while reasons.is_empty() {
            if let Event::Waiting { reason, .. } = client.event().await {
                reasons.push(reason);
            }
        }
        assert!(reasons[0].contains(status), "{reasons:?}");
    }
}

#[tokio::test]
async fn leaves_what_serves_no_mirrors() {
    let missing = |_: &Seen| {
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n\
          Content-Length: 19\r\n\r\n404 page not found\n"
            .to_vec()
    };
    let other = Origin::start(missing).await;
    let mut config = Config::new(
        other.address.to_string().parse().unwrap(),
        "3000".parse().unwrap(),
    );
    let name = "blog".parse().unwrap();
    config.claim = Claim::Mirror(ggrok_client::Mirror::new(name));
    let ended = Client::launch(config).ended().await;
    let Err(RunError::Connect(ConnectError::NoRelay(reason))) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(reason, "it answered 404 Not Found: 404 page not found");
    let asked = other.last();
    assert_eq!(asked.target(), "/_ggrok/mirror?name=blog&public=true");
}
