//! The Go programs' places taken by what was recorded from them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use ggrok_client::{Claim, ConnectError, Dialect, LocalAddress, RunError};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_async, accept_hdr_async, client_async};

use crate::support::{Client, Origin, Relay, Seen, exchange, get};

const SERVER_SENDS: &str =
    include_str!("../crates/ggrok-protocol/tests/fixtures/ggrok-server-sends.json");
const CLIENT_ANSWERS: &str =
    include_str!("../crates/ggrok-protocol/tests/fixtures/ggrok-client-answers.json");

fn recorded(file: &str) -> serde_json::Map<String, Value> {
    serde_json::from_str(file).unwrap()
}

/// Registers with the very bytes that the Go client sent, but for its Host.
#[tokio::test]
async fn serves_visitors_through_the_go_client() {
    let relay = Relay::start().await;
    let entries = recorded(CLIENT_ANSWERS);
    let mut handshake = http::Request::get(format!("ws://{}/$$ggrok", relay.address));
    for field in entries["_handshake"]["headers"].as_array().unwrap() {
        let (name, value) = (field[0].as_str().unwrap(), field[1].as_str().unwrap());
        let value = if name == "Host" {
            relay.address.to_string()
        } else {
            value.to_owned()
        };
        handshake = handshake.header(name, value);
    }
    let stream = TcpStream::connect(relay.address).await.unwrap();
    let (mut go, _) = client_async(handshake.body(()).unwrap(), stream)
        .await
        .unwrap();

    for (name, entry) in entries.iter().filter(|(name, _)| !name.starts_with('_')) {
        let address = relay.address;
        let target = format!("/{name}?q=1");
        let visit = tokio::spawn(async move { get(address, &target).await });
        let request = go.next().await.unwrap().unwrap();
        let request: Value = serde_json::from_str(request.to_text().unwrap()).unwrap();
        let sent: Value = serde_json::from_str(entry["sent"].as_str().unwrap()).unwrap();
        assert_eq!(request["URL"], sent["URL"]);
        assert_eq!(request.as_object().unwrap().len(), 2);

        let envelope = entry["envelope"].as_str().unwrap();
        go.send(Message::text(envelope)).await.unwrap();
        let answer: Value = serde_json::from_str(envelope).unwrap();
        let seen = visit.await.unwrap();
        assert_eq!(
            u64::from(seen.status()),
            answer["StatusCode"].as_u64().unwrap(),
            "{name}"
        );
        assert_eq!(
            seen.body,
            BASE64_STANDARD
                .decode(answer["Body"].as_str().unwrap())
                .unwrap(),
            "{name}"
        );
        for (field, values) in answer["Header"].as_object().unwrap() {
            let values: Vec<_> = values
                .as_array()
                .unwrap()
                .iter()
                .map(|value| value.as_str().unwrap())
                .collect();
            assert_eq!(seen.field(field), values, "{name}");
        }
    }
}

#[tokio::test]
async fn sends_the_go_client_what_the_go_relay_would_send() {
    let relay = Relay::start().await;
    let stream = TcpStream::connect(relay.address).await.unwrap();
    // Registered for the host that the recorded visitors asked for.
    let (mut go, _) = client_async("ws://demo.test/$$ggrok", stream)
        .await
        .unwrap();
    let mut compared = 0;
    for (name, entry) in recorded(SERVER_SENDS) {
        if name.starts_with('_') || entry["envelope"].is_null() || name == "post_binary" {
            continue;
        }
        let raw = BASE64_STANDARD
            .decode(entry["public_request_b64"].as_str().unwrap())
            .unwrap();
        let address = relay.address;
        let visit = tokio::spawn(async move { exchange(address, &raw).await });
        let ours = go.next().await.unwrap().unwrap();
        go.send(Message::text(r#"{"StatusCode":201,"Header":{"X-Res":["1","2"],"Content-Type":["text/plain"]},"Body":"cG9uZ/8="}"#))
            .await
            .unwrap();
        let answer = visit.await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 201 Created\r\n"), "{name}");
        assert_eq!(
            answer.ends_with(b"\r\n\r\npong\xff"),
            name != "head",
            "{name}"
        );

        let theirs: Value = serde_json::from_str(entry["envelope"].as_str().unwrap()).unwrap();
        let ours: Value = serde_json::from_str(ours.to_text().unwrap()).unwrap();
        let lines = |envelope: &Value| {
            let request = envelope["Req"].as_str().unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            // Go adds a User-Agent and sends `Connection: close` along; ours adds who the visitor
            // is, and what the call is called. Bodies are framed in different ways.
            let ours_or_theirs = [
                "User-Agent: Go",
                "Connection:",
                "X-Forwarded",
                "Forwarded:",
                "Via:",
                "X-Request-Id:",
                "Content-Length:",
                "Transfer-Encoding:",
            ];
            let mut lines: Vec<_> = head
                .lines()
                .filter(|line| !ours_or_theirs.iter().any(|start| line.starts_with(start)))
                .map(ToOwned::to_owned)
                .collect();
            lines[1..].sort();
            lines.push(body.replace("b\r\nhello world\r\n0\r\n\r\n", "hello world"));
            lines
        };
        assert_eq!(lines(&ours), lines(&theirs), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 8);
}

/// The Go relay lets a client in that offers it a subprotocol, and does not choose it. The client
/// comes back without the offer.
async fn decline_offer(listener: &TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut offered = String::new();
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let offer = &request.headers()["sec-websocket-protocol"];
        offered = offer.to_str().unwrap().to_owned();
        Ok(response)
    };
    let mut go = accept_hdr_async(stream, look).await.unwrap();
    assert_eq!(offered, "ggrok.v2");
    let next = go.next().await;
    assert!(
        !matches!(next, Some(Ok(_))),
        "it went on as if it had been chosen"
    );
}

#[tokio::test]
async fn answers_the_go_relay_as_the_go_client_would() {
    // Each local answer as it was recorded.
    let answers = recorded(CLIENT_ANSWERS);
    let origin = Origin::start(move |seen: &Seen| {
        let name = seen
            .target()
            .trim_start_matches('/')
            .split('?')
            .next()
            .unwrap();
        let bytes = answers[name]["origin_answered_b64"].as_str().unwrap();
        let mut bytes = BASE64_STANDARD.decode(bytes).unwrap();
        if bytes.starts_with(b"HTTP/1.0") {
            let end = bytes
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .unwrap()
                + 2;
            bytes.splice(end..end, crate::support::CLOSE.iter().copied());
        }
        bytes
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap().to_string();
    let local = origin.address.to_string();
    let _client = Client::launch(ggrok_client::Config::new(
        relay.parse().unwrap(),
        local.parse().unwrap(),
    ));

    decline_offer(&listener).await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        path = request.uri().path().to_owned();
        assert!(!request.headers().contains_key("authorization"));
        assert!(!request.headers().contains_key("sec-websocket-protocol"));
        Ok(response)
    };
    let mut go = accept_hdr_async(stream, look).await.unwrap();
    assert_eq!(path, "/$$ggrok");

    for (name, entry) in recorded(CLIENT_ANSWERS) {
        if name.starts_with('_') {
            continue;
        }
        // The Go relay passes such names, which many servers take for `X-A`.
        let sent = entry["sent"].as_str().unwrap();
        let with_claim = sent.replacen(r"HTTP/1.1\r\n", r"HTTP/1.1\r\nX_A: 3\r\n", 1);
        assert_ne!(with_claim, sent);
        go.send(Message::text(with_claim)).await.unwrap();
        let ours = go.next().await.unwrap().unwrap();
        let mut ours: Value = serde_json::from_str(ours.to_text().unwrap()).unwrap();
        let mut theirs: Value = serde_json::from_str(entry["envelope"].as_str().unwrap()).unwrap();
        if name == "redirect" {
            assert_eq!(
                (&ours["StatusCode"], &ours["Header"]["Location"][0]),
                (&302.into(), &"/ok".into())
            );
            continue;
        }
        ours["Header"].as_object_mut().unwrap().remove("Connection");
        if name == "odd_status" {
            (ours["Status"], theirs["Status"]) = (Value::Null, Value::Null);
        }
        assert_eq!(ours, theirs, "{name}");
        let seen = origin.last();
        assert_eq!(seen.line(), format!("GET /{name}?q=1 HTTP/1.1"));
        assert_eq!(seen.field("host"), ["demo.test"]);
        assert_eq!(seen.field("x-a"), ["1", "2"]);
        assert_eq!(seen.field("x_a"), [""; 0]);
        assert!(
            seen.field("accept-encoding").is_empty(),
            "the client adds nothing"
        );
    }
}

#[tokio::test]
async fn goes_where_it_was_told_whatever_a_relay_sends() {
    let origin =
        Origin::start(|_: &Seen| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let evil = trap.local_addr().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap().to_string();
    let local = origin.address.to_string();
    let _client = Client::launch(ggrok_client::Config::new(
        relay.parse().unwrap(),
        local.parse().unwrap(),
    ));
    decline_offer(&listener).await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut go = accept_async(stream).await.unwrap();
    for target in [
        format!("http://{evil}/x"),
        format!("//{evil}/x"),
        format!("/\\\\{evil}/x"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {evil}\r\n\r\n");
        let envelope = serde_json::json!({ "Req": request, "URL": target }).to_string();
        go.send(Message::text(envelope)).await.unwrap();
        let answer = go.next().await.unwrap().unwrap();
        let answer: Value = serde_json::from_str(answer.to_text().unwrap()).unwrap();
        assert_eq!(answer["StatusCode"], 200, "{target}");
    }
    assert_eq!(origin.seen().len(), 3);
    let trapped = tokio::time::timeout(std::time::Duration::from_millis(50), trap.accept()).await;
    assert!(trapped.is_err(), "the client dialled another address");
}

/// Lets a client of the Go relay's dialect in, and returns the path and query that it asked for.
async fn admit(listener: &TcpListener) -> (WebSocketStream<TcpStream>, String) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut target = String::new();
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        target = request.uri().to_string();
        Ok(response)
    };
    let socket = accept_hdr_async(stream, look).await.unwrap();
    (socket, target)
}

#[tokio::test]
async fn leaves_the_go_relay_where_another_host_is_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = listener.local_addr().unwrap().to_string();
    let mut config = ggrok_client::Config::new(relay.parse().unwrap(), LocalAddress::port(3000));
    config.claim = Claim::OtherHost("app.example".parse().unwrap());
    config.dialect = Some(Dialect::Ggrok);
    let mut client = Client::launch(config);
    let (_socket, target) = admit(&listener).await;
    assert_eq!(target, "/$$ggrok?host=app.example");
    let ended = client.ended().await;
    let Err(RunError::Connect(error @ ConnectError::OwnHostAlone(_))) = ended else {
        panic!("{ended:?}");
    };
    assert!(error.to_string().contains("its own host"), "{error}");
}
