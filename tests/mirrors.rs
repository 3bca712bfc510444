//! The API by which an owner's programs call mirrors: what arrives at either end.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    Answer, Asked, MAGIC_MIRROR, Mirror, Relay, Socket, answered, ask, dial, eventually, handshake,
    listed, names, noise, owners, raw,
};

fn decoded(base64: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(base64.as_str().unwrap()).unwrap()
}

fn values(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    list.map(|value| value.as_str().unwrap()).collect()
}

/// Asks the API by a whole head but for its Host and its end, with a body.
async fn send(relay: &Relay, head: &str, body: &[u8]) -> Answer {
    let host = relay.address;
    let head = format!("{head}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    raw(host, [head.as_bytes(), body].concat()).await
}

/// Registers with the very bytes that the Go client sent, and plays its answers.
#[tokio::test]
async fn the_go_clients_answers_arrive_at_the_caller() {
    let entries: Map<String, Value> = serde_json::from_str(MAGIC_MIRROR).unwrap();
    let relay = Relay::with(owners).await;
    let answers = entries.clone();
    let go = Mirror::start(relay.address, "localprometheus", "k-123", move |asked| {
        let name = asked.target()[1..].split('?').next().unwrap();
        answers[name]["envelope"].as_str().unwrap().to_owned()
    })
    .await;
    for (name, entry) in entries.iter().filter(|(name, _)| !name.starts_with('_')) {
        let head = format!(
            "POST /_ggrok/mirrors/localprometheus/{name}?q=1 HTTP/1.1\r\nX-Ggrok-Token: k-123\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 6"
        );
        let answer = send(&relay, &head, b"\0body\xff").await;

        let sent = Asked::of(entry["sent"].as_str().unwrap());
        let asked = go.last();
        assert_eq!(
            (asked.method(), asked.target(), asked.body()),
            (sent.method(), sent.target(), sent.body())
        );
        assert_eq!(asked.field("x-a"), sent.field("x-a"), "{name}");

        let envelope = entry["envelope"].as_str().unwrap();
        let envelope: Value =
            serde_json::from_slice(&BASE64_STANDARD.decode(envelope).unwrap()).unwrap();
        assert_eq!(json!(answer.status()), envelope["status_code"], "{name}");
        assert_eq!(answer.whole(), Some(decoded(&envelope["body"])), "{name}");
        for (field, expected) in envelope["headers"].as_object().unwrap() {
            assert_eq!(answer.field(field), values(expected), "{name}");
        }
    }
}

#[tokio::test]
async fn methods_targets_fields_and_bodies_arrive_as_they_are() {
    let relay = Relay::with(owners).await;
    let mirror = Mirror::saying(relay.address, "app", "k-ana", "ok").await;
    let body = noise(300_000);
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let head = format!(
            "{method} /_ggrok/mirrors/app/x HTTP/1.1\r\nX-Ggrok-Token: k-ana\r\nX-B: a, b\r\nX-b: c\r\nContent-Length: {}",
            body.len()
        );
        assert_eq!(send(&relay, &head, &body).await.text(), "ok");
        let asked = mirror.last();
        assert_eq!((asked.method(), asked.target()), (method, "/x"));
        assert_eq!(asked.field("x-b"), ["a, b", "c"]);
        assert_eq!(asked.field("host"), [""; 0], "it is the API's");
        assert!(asked.body() == body, "{method}");
    }
    for target in [
        "/",
        "/?",
        "/api/v1/query?query=up{job=%22x%22,a!~%22b|c%22}[5m]&x=%7B",
        "//a/../b%2F",
        "/./..//",
        "/a?b?c/d?",
        "/%C3%A9%ff%00;p=1,2@:!$'()*+",
        "/\"{}|[]",
        "/_ggrok/mirrors/app/",
    ] {
        let line = format!("GET /_ggrok/mirrors/app{target}");
        let answer = ask(relay.address, &line, "k-ana").await;
        assert_eq!(answer.status(), 200, "{target}: {}", answer.text());
        assert_eq!(mirror.last().target(), target);
    }
}

#[tokio::test]
async fn the_token_stays_at_the_relay() {
    let relay = Relay::with(owners).await;
    let mirror = Mirror::saying(relay.address, "app", "k-ana", "ok").await;
    for (fields, left) in [
        ("X-Ggrok-Token: k-ana", &[][..]),
        ("X-GGROK-TOKEN: k-ana\r\nX-Ggrok-Token: k-ana", &[]),
        ("Authorization: Bearer k-ana", &[]),
        ("authorization: bearer  k-ana ", &[]),
        (
            "X-Ggrok-Token: k-ana\r\nAuthorization: Basic YTpi",
            &["Basic YTpi"],
        ),
        (
            "Authorization: Bearer the-apps-own\r\nX-Ggrok-Token: k-ana",
            &["Bearer the-apps-own"],
        ),
    ] {
        let head = format!("GET /_ggrok/mirrors/app/ HTTP/1.1\r\n{fields}");
        assert_eq!(send(&relay, &head, b"").await.text(), "ok", "{fields}");
        let asked = mirror.last();
        assert_eq!(asked.field("authorization"), left, "{fields}");
        assert!(!asked.shown().contains("k-ana"), "{}", asked.shown());
    }
}

#[tokio::test]
async fn refuses_callers_without_a_valid_token() {
    let relay = Relay::with(owners).await;
    let mirror = Mirror::saying(relay.address, "app", "k-ana", "ok").await;
    for line in [
        "GET /_ggrok/mirrors",
        "GET /_ggrok/mirrors/app",
        "DELETE /_ggrok/mirrors/app",
        "GET /_ggrok/mirrors/app/",
        "POST /_ggrok/mirrors/none/x",
    ] {
        for (field, error) in [
            ("X-A: 1", "no-token"),
            ("Authorization: Basic ay1hbmE6", "no-token"),
            ("Authorization: Bearer guess", "wrong-token"),
            (
                "X-Ggrok-Token: guess\r\nAuthorization: Bearer k-ana",
                "wrong-token",
            ),
        ] {
            let answer = send(&relay, &format!("{line} HTTP/1.1\r\n{field}"), b"").await;
            assert_eq!(
                (answer.status(), answer.error()),
                (401, Some(error)),
                "{line} {field}"
            );
            assert_eq!(answer.field("www-authenticate"), ["Bearer"]);
            assert!(!answer.text().contains("guess"));
        }
    }
    assert!(mirror.asked().is_empty() && mirror.is_connected());
}

#[tokio::test]
async fn tells_unknown_mirrors_from_those_that_are_offline() {
    let relay = Relay::with(owners).await;
    let _anas = Mirror::saying(relay.address, "app", "k-ana", "ok").await;
    for line in [
        "GET /_ggrok/mirrors/app",
        "GET /_ggrok/mirrors/app/",
        "DELETE /_ggrok/mirrors/app",
    ] {
        let answer = ask(relay.address, line, "k-ben").await;
        assert_eq!(
            (answer.status(), answer.error()),
            (404, Some("unknown-mirror")),
            "{line}"
        );
    }
    for name in ["none", "APP", "a%70p", "..", "%2e", "a%ffb"] {
        let answer = ask(
            relay.address,
            &format!("GET /_ggrok/mirrors/{name}/x"),
            "k-ana",
        )
        .await;
        assert_eq!(
            (answer.status(), answer.error()),
            (404, Some("unknown-mirror")),
            "{name}"
        );
    }
    drop(Mirror::saying(relay.address, "gone", "k-ana", "ok").await);
    eventually("it is offline", async || {
        (names(relay.address, "k-ana").await == ["app"]).then_some(())
    })
    .await;
    for line in ["GET /_ggrok/mirrors/gone", "POST /_ggrok/mirrors/gone/x"] {
        let answer = ask(relay.address, line, "k-ana").await;
        assert_eq!(
            (answer.status(), answer.error()),
            (503, Some("mirror-offline")),
            "{line}"
        );
        assert_eq!(answer.field("retry-after"), ["5"]);
    }
    let json =
        "GET /_ggrok/mirrors/gone/ HTTP/1.1\r\nX-Ggrok-Token: k-ana\r\nAccept: application/json";
    let answer: Value = serde_json::from_slice(&send(&relay, json, b"").await.body).unwrap();
    assert_eq!(answer["error"], "mirror-offline");
}

#[tokio::test]
async fn an_answer_to_head_has_the_length_that_the_app_gives_or_none() {
    let relay = Relay::with(owners).await;
    let _mirror = Mirror::start(relay.address, "app", "k-ana", |asked| match asked.target() {
        "/none" => answered(200, ""),
        _ => {
            let envelope = json!({ "status_code": 200, "headers": { "Content-Length": ["1234"] }, "body": "" });
            BASE64_STANDARD.encode(envelope.to_string())
        }
    })
    .await;
    for (target, length) in [("none", &[][..]), ("given", &["1234"])] {
        let line = format!("HEAD /_ggrok/mirrors/app/{target}");
        let answer = ask(relay.address, &line, "k-ana").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.field("content-length"), length, "{target}");
        assert_eq!(answer.body, b"");
    }
}

#[tokio::test]
async fn an_upload_that_is_refused_gets_its_answer() {
    let relay = Relay::with(owners).await;
    let body = noise(8 << 20);
    for (name, token, status) in [("none", "k-ana", 404), ("none", "guess", 401)] {
        let head = format!(
            "POST /_ggrok/mirrors/{name}/x HTTP/1.1\r\nX-Ggrok-Token: {token}\r\nContent-Length: {}",
            body.len()
        );
        assert_eq!(send(&relay, &head, &body).await.status(), status);
        // One that asks first need not send it.
        let answer = send(&relay, &format!("{head}\r\nExpect: 100-continue"), b"").await;
        assert_eq!(answer.status(), status);
    }
}

/// The next envelope that the relay sends.
async fn envelope(socket: &mut Socket) -> Asked {
    loop {
        if let Message::Text(envelope) = socket.next().await.unwrap().unwrap() {
            return Asked::of(&envelope);
        }
    }
}

#[tokio::test]
async fn calls_take_turns_at_a_mirror_and_get_their_own_answers() {
    let relay = Relay::with(owners).await;
    let address = relay.address;
    let (mut mirror, _) = dial(handshake(address, "/_ggrok/mirror?name=app", "k-ana")).await;
    let calls = ["first", "second"].map(|name| {
        tokio::spawn(async move {
            let line = format!("GET /_ggrok/mirrors/app/{name}");
            (format!("/{name}"), ask(address, &line, "k-ana").await)
        })
    });
    eventually("both calls are at the relay", async || {
        (listed(address, "k-ana").await[0]["calls"] == 2).then_some(())
    })
    .await;
    for _ in 0..2 {
        let asked = envelope(&mut mirror).await;
        // The relay says no more before it has the answer: what it says next is a pong.
        mirror.send(Message::Ping("x".into())).await.unwrap();
        let next = mirror.next().await.unwrap().unwrap();
        assert_eq!(next, Message::Pong("x".into()));
        let answer = answered(200, asked.target());
        mirror.send(Message::text(answer)).await.unwrap();
    }
    for call in calls {
        let (target, answer) = call.await.unwrap();
        assert_eq!(answer.text(), target);
    }
}

#[tokio::test]
async fn a_mirror_that_never_answers_is_closed() {
    let relay = Relay::with(|config| {
        owners(config);
        config.limits.call_timeout = Duration::from_millis(300);
    })
    .await;
    let (mut mirror, _) = dial(handshake(relay.address, "/_ggrok/mirror?name=app", "k-ana")).await;
    let closing = tokio::spawn(async move { crate::support::close_code(&mut mirror).await });
    let answer = ask(relay.address, "GET /_ggrok/mirrors/app/", "k-ana").await;
    assert_eq!((answer.status(), answer.error()), (504, Some("timed-out")));
    assert_eq!(closing.await.unwrap(), Some(4408));
    eventually("it is not listed", async || {
        listed(relay.address, "k-ana")
            .await
            .is_empty()
            .then_some(())
    })
    .await;
}
