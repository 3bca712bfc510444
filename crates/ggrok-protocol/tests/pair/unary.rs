//! Calls that take turns, in each dialect that has them so.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use ggrok_protocol::{
    Arrival, CallError, Dialect, EncodeError, Ending, Incoming, IncomingCall, Limits, Message,
    SessionError, Tunnel, accept, open,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::memory::{End, ends};

/// Makes a test of each scenario in each dialect.
macro_rules! scenarios {
    ($($scenario:ident,)*) => {
        mod ggrok {
            $(#[tokio::test(start_paused = true)]
            async fn $scenario() {
                super::$scenario(ggrok_protocol::Dialect::Ggrok).await;
            })*
        }
        mod magic_mirror {
            $(#[tokio::test(start_paused = true)]
            async fn $scenario() {
                super::$scenario(ggrok_protocol::Dialect::MagicMirror).await;
            })*
        }
    };
}

scenarios! {
    carries_calls_one_after_the_other,
    takes_a_binary_message_for_a_text,
    refuses_an_upgrade,
    keeps_the_turn_of_a_visitor_who_left,
    ends_the_tunnel_over_a_call_without_an_answer,
    ends_the_tunnel_over_an_answer_that_nobody_asked_for,
    ends_the_tunnel_over_a_message_that_is_no_envelope,
    spares_the_tunnel_where_only_the_response_is_bad,
    fails_calls_when_the_client_leaves,
    refuses_bodies_and_calls_over_its_limits,
    bounds_the_bytes_that_it_holds,
    takes_a_silent_client_for_dead,
    spares_a_client_that_works_at_a_call,
    keeps_a_client_that_answers_pings_for_hours,
    stays_with_a_relay_that_never_pings,
    minds_whether_a_relay_that_pinged_is_dead,
    tells_the_client_why_its_tunnel_is_closed,
    answers_a_call_that_was_dropped,
    answers_a_request_that_it_cannot_read,
    refuses_what_only_a_proxy_would_take,
    refuses_heads_over_the_limit,
    leaves_a_relay_that_speaks_out_of_turn,
    replaces_a_response_that_it_cannot_carry,
}

type Ended = JoinHandle<Result<Ending, SessionError>>;

/// A relay's end with a test in the client's place.
fn relay(dialect: Dialect, limits: Limits) -> (Tunnel, Ended, Peer) {
    let (near, socket) = ends();
    let (tunnel, session) = open(dialect, limits);
    (
        tunnel,
        tokio::spawn(session.run(near)),
        Peer { socket, dialect },
    )
}

/// A client's end with a test in the relay's place.
fn client(dialect: Dialect, limits: Limits) -> (Incoming, Ended, Peer) {
    let (near, socket) = ends();
    let (incoming, session) = accept(dialect, limits);
    (
        incoming,
        tokio::spawn(session.run(near)),
        Peer { socket, dialect },
    )
}

/// Both ends, with nothing between them.
fn pair(dialect: Dialect) -> (Tunnel, Ended, Incoming, Ended) {
    let (near, far) = ends();
    let (tunnel, relay) = open(dialect, Limits::default());
    let (incoming, client) = accept(dialect, Limits::default());
    (
        tunnel,
        tokio::spawn(relay.run(near)),
        incoming,
        tokio::spawn(client.run(far)),
    )
}

/// A test in the place of one end.
struct Peer {
    socket: End,
    dialect: Dialect,
}

impl Peer {
    /// Sends a request that has this field.
    async fn ask(&mut self, field: &str) {
        let request = match self.dialect {
            Dialect::MagicMirror => {
                json!({ "method": "GET", "uri": "/", "headers": { field: ["a"] } })
            }
            _ => json!({ "Req": format!("GET / HTTP/1.1\r\n{field}: a\r\n\r\n"), "URL": "/" }),
        };
        self.send(&request).await;
    }

    /// Sends a request for a target.
    async fn ask_for(&mut self, method: &str, target: &str) {
        let request = match self.dialect {
            Dialect::MagicMirror => json!({ "method": method, "uri": target }),
            _ => {
                json!({ "Req": format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n"), "URL": target })
            }
        };
        self.send(&request).await;
    }

    /// Sends an answer.
    async fn answer(&mut self, status: u16, body: &str) {
        let body = BASE64_STANDARD.encode(body);
        let answer = match self.dialect {
            Dialect::MagicMirror => json!({ "body": body, "headers": {}, "status_code": status }),
            _ => json!({ "StatusCode": status, "Header": {}, "Body": body }),
        };
        self.send(&answer).await;
    }

    async fn send(&mut self, envelope: &Value) {
        let envelope = envelope.to_string();
        self.say(match self.dialect {
            Dialect::MagicMirror => BASE64_STANDARD.encode(envelope),
            _ => envelope,
        })
        .await;
    }

    async fn say(&mut self, text: impl Into<Bytes>) {
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }

    /// Takes a request, and tells its target.
    async fn asked(&mut self) -> String {
        let request = self.received().await;
        let target = match self.dialect {
            Dialect::MagicMirror => request["uri"]
                .as_str()
                .unwrap()
                .strip_prefix("http://localhost"),
            _ => request["URL"].as_str(),
        };
        target.unwrap().to_owned()
    }

    /// Takes an answer of 502, and tells the error in it.
    async fn refused(&mut self) -> String {
        let (status, error) = self.refusal().await;
        assert_eq!(status, 502);
        error
    }

    /// Takes an answer, and tells its status and the error in it.
    async fn refusal(&mut self) -> (u64, String) {
        let answer = self.received().await;
        let (status, fields) = match self.dialect {
            Dialect::MagicMirror => (&answer["status_code"], &answer["headers"]),
            _ => (&answer["StatusCode"], &answer["Header"]),
        };
        let error = fields["X-Ggrok-Error"][0].as_str().unwrap();
        (status.as_u64().unwrap(), error.to_owned())
    }

    /// The next envelope that the other end sends.
    async fn received(&mut self) -> Value {
        let Message::Text(text) = self.heard().await else {
            panic!("a message of an envelope is text");
        };
        match self.dialect {
            Dialect::MagicMirror => {
                serde_json::from_slice(&BASE64_STANDARD.decode(text).unwrap()).unwrap()
            }
            _ => serde_json::from_slice(&text).unwrap(),
        }
    }

    async fn close_frame(&mut self) -> Ending {
        match self.heard().await {
            Message::Close(ending) => ending,
            other => panic!("{other:?} is no close frame"),
        }
    }

    /// The next message that is not about liveness.
    async fn heard(&mut self) -> Message {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Ping | Message::Pong => {}
                other => return other,
            }
        }
    }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    let request = Request::get(path).header("host", "a.example");
    request.body(Full::default()).unwrap()
}

fn post(body: &'static [u8]) -> Request<Full<Bytes>> {
    let request = Request::post("/").header("host", "a.example");
    request.body(Full::from(body)).unwrap()
}

fn call(tunnel: &Tunnel, path: &'static str) -> JoinHandle<Result<String, CallError>> {
    let tunnel = tunnel.clone();
    tokio::spawn(async move {
        let response = tunnel.call(get(path)).await?;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    })
}

async fn arrived(incoming: &mut Incoming) -> IncomingCall {
    match incoming.next().await.unwrap() {
        Arrival::Call(call) => call,
        Arrival::GoAway => panic!("a GoAway is no call"),
    }
}

async fn carries_calls_one_after_the_other(dialect: Dialect) {
    let (tunnel, _relay, mut incoming, _client) = pair(dialect);
    let calls: Vec<_> = ["/1", "/2", "/3"].map(|path| call(&tunnel, path)).into();
    for _ in 0..3 {
        let IncomingCall { request, responder } = arrived(&mut incoming).await;
        assert!(
            timeout(Duration::from_secs(1), incoming.next())
                .await
                .is_err()
        );
        let path = request.uri().path().to_owned();
        responder.respond(Response::new(Full::from(path))).await;
    }
    for (call, path) in calls.into_iter().zip(["/1", "/2", "/3"]) {
        assert_eq!(call.await.unwrap().unwrap(), path);
    }
}

async fn takes_a_binary_message_for_a_text(dialect: Dialect) {
    let (tunnel, _session, mut peer) = relay(dialect, Limits::default());
    let asking = call(&tunnel, "/");
    let Message::Text(request) = peer.heard().await else {
        panic!("a request is text");
    };
    let (mut incoming, _session, mut other) = client(dialect, Limits::default());
    let request = Message::Binary(request);
    other.socket.send(request).await.unwrap();
    let IncomingCall { responder, .. } = arrived(&mut incoming).await;
    responder.respond(Response::new(Full::from("hi"))).await;
    let Message::Text(answer) = other.heard().await else {
        panic!("an answer is text");
    };
    let answer = Message::Binary(answer);
    peer.socket.send(answer).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap(), "hi");
}

async fn refuses_an_upgrade(dialect: Dialect) {
    let (tunnel, _session, _peer) = relay(dialect, Limits::default());
    let mut request = get("/");
    let fields = request.headers_mut();
    fields.insert("connection", "upgrade".parse().unwrap());
    fields.insert("upgrade", "websocket".parse().unwrap());
    let refused = tunnel.call(request).await.unwrap_err();
    assert!(matches!(refused, CallError::Encode(EncodeError::Upgrade)));
}

async fn keeps_the_turn_of_a_visitor_who_left(dialect: Dialect) {
    let (tunnel, _session, mut peer) = relay(dialect, Limits::default());
    let first = call(&tunnel, "/first");
    assert_eq!(peer.asked().await, "/first");
    first.abort();
    let second = call(&tunnel, "/second");
    let early = timeout(Duration::from_secs(5), peer.asked());
    assert!(
        early.await.is_err(),
        "the second request overtook the first answer"
    );
    peer.answer(200, "old").await;
    assert_eq!(peer.asked().await, "/second");
    peer.answer(200, "hi").await;
    assert_eq!(second.await.unwrap().unwrap(), "hi");
}

async fn ends_the_tunnel_over_a_call_without_an_answer(dialect: Dialect) {
    let (tunnel, session, mut peer) = relay(dialect, Limits::default());
    let unanswered = call(&tunnel, "/");
    peer.asked().await;
    let waiting = call(&tunnel, "/waits");
    assert_eq!(peer.close_frame().await, Ending::TimedOut);
    assert!(matches!(
        unanswered.await.unwrap(),
        Err(CallError::TimedOut)
    ));
    let waited = waiting.await.unwrap();
    assert!(
        matches!(waited, Err(CallError::Closed | CallError::TimedOut)),
        "{waited:?}"
    );
    drop(peer);
    assert!(matches!(
        session.await.unwrap(),
        Err(SessionError::CallTimedOut)
    ));
    assert!(matches!(
        tunnel.call(get("/")).await,
        Err(CallError::Closed)
    ));
}

async fn ends_the_tunnel_over_an_answer_that_nobody_asked_for(dialect: Dialect) {
    let (_tunnel, session, mut peer) = relay(dialect, Limits::default());
    peer.answer(200, "hi").await;
    assert_eq!(peer.close_frame().await, Ending::Violation);
    assert!(matches!(
        session.await.unwrap(),
        Err(SessionError::OutOfTurn)
    ));
}

async fn ends_the_tunnel_over_a_message_that_is_no_envelope(dialect: Dialect) {
    let (tunnel, session, mut peer) = relay(dialect, Limits::default());
    let call = call(&tunnel, "/");
    peer.asked().await;
    peer.say("hello").await;
    assert!(matches!(call.await.unwrap(), Err(CallError::Decode(_))));
    assert_eq!(peer.close_frame().await, Ending::Violation);
    assert!(matches!(
        session.await.unwrap(),
        Err(SessionError::NoEnvelope(_))
    ));
}

async fn spares_the_tunnel_where_only_the_response_is_bad(dialect: Dialect) {
    let (tunnel, _session, mut peer) = relay(dialect, Limits::default());
    let bad = call(&tunnel, "/");
    peer.asked().await;
    peer.answer(99, "").await;
    assert!(matches!(bad.await.unwrap(), Err(CallError::Decode(_))));
    let good = call(&tunnel, "/");
    peer.asked().await;
    peer.answer(200, "hi").await;
    assert_eq!(good.await.unwrap().unwrap(), "hi");
}

async fn fails_calls_when_the_client_leaves(dialect: Dialect) {
    let (tunnel, session, mut peer) = relay(dialect, Limits::default());
    let running = call(&tunnel, "/");
    peer.asked().await;
    let waiting = call(&tunnel, "/");
    drop(peer);
    assert!(matches!(running.await.unwrap(), Err(CallError::Closed)));
    assert!(matches!(waiting.await.unwrap(), Err(CallError::Closed)));
    assert!(session.await.unwrap().is_ok());
}

async fn refuses_bodies_and_calls_over_its_limits(dialect: Dialect) {
    let limits = Limits {
        body: 4,
        calls: 1,
        ..Limits::default()
    };
    let (tunnel, _session, mut peer) = relay(dialect, limits);
    assert!(matches!(
        tunnel.call(post(b"12345")).await,
        Err(CallError::BodyTooLarge)
    ));
    let running = call(&tunnel, "/");
    peer.asked().await;
    assert!(matches!(
        tunnel.call(get("/")).await,
        Err(CallError::TooManyCalls)
    ));
    peer.answer(200, "hi").await;
    running.await.unwrap().unwrap();
}

async fn bounds_the_bytes_that_it_holds(dialect: Dialect) {
    let limits = Limits {
        body: 10,
        held: 0, // Twice the largest body, then: 20.
        ..Limits::default()
    };
    let (tunnel, _session, mut peer) = relay(dialect, limits);
    let upload = |tunnel: &Tunnel| {
        let tunnel = tunnel.clone();
        tokio::spawn(async move { tunnel.call(post(b"0123456789")).await })
    };
    let first = upload(&tunnel);
    peer.asked().await;
    let second = upload(&tunnel);
    tokio::task::yield_now().await;
    assert!(matches!(
        tunnel.call(post(b"0")).await,
        Err(CallError::TooManyBytes)
    ));

    peer.answer(200, "hi").await;
    let response = first.await.unwrap().unwrap();
    peer.asked().await;
    peer.answer(200, "hi").await;
    drop((response, second.await.unwrap().unwrap()));
    let third = upload(&tunnel);
    peer.asked().await;
    peer.answer(200, "hi").await;
    third.await.unwrap().unwrap();
}

async fn takes_a_silent_client_for_dead(dialect: Dialect) {
    let (_tunnel, session, mut peer) = relay(dialect, Limits::default());
    // Reads nothing, and so answers no ping.
    let error = session.await.unwrap().unwrap_err();
    assert!(matches!(error, SessionError::Dead), "{error}");
    assert!(matches!(peer.socket.next().await, Some(Ok(Message::Ping))));
}

async fn spares_a_client_that_works_at_a_call(dialect: Dialect) {
    let limits = Limits {
        call_timeout: Duration::from_secs(3600),
        ..Limits::default()
    };
    let (tunnel, session, mut peer) = relay(dialect, limits);
    let slow = call(&tunnel, "/");
    peer.asked().await;
    // It reads nothing meanwhile, and so answers no ping.
    sleep(limits.dead_after * 3).await;
    assert!(!session.is_finished());
    peer.answer(200, "hi").await;
    assert_eq!(slow.await.unwrap().unwrap(), "hi");
}

async fn keeps_a_client_that_answers_pings_for_hours(dialect: Dialect) {
    let (tunnel, relay, mut incoming, client) = pair(dialect);
    sleep(Duration::from_secs(3 * 3600)).await;
    assert!(!relay.is_finished() && !client.is_finished());
    let call = call(&tunnel, "/");
    let IncomingCall { responder, .. } = arrived(&mut incoming).await;
    responder.respond(Response::new(Full::from("awake"))).await;
    assert_eq!(call.await.unwrap().unwrap(), "awake");
}

async fn stays_with_a_relay_that_never_pings(dialect: Dialect) {
    let (_incoming, session, mut peer) = client(dialect, Limits::default());
    let quiet = async { while peer.socket.incoming.recv().await.is_some() {} };
    assert!(timeout(Duration::from_secs(3600), quiet).await.is_err());
    assert!(!session.is_finished());
}

async fn minds_whether_a_relay_that_pinged_is_dead(dialect: Dialect) {
    let (_incoming, mut session, mut peer) = client(dialect, Limits::default());
    peer.socket.send(Message::Ping).await.unwrap();
    let ended = timeout(Duration::from_secs(3600), &mut session).await;
    if dialect == Dialect::MagicMirror {
        // Its server may ping at any interval.
        assert!(ended.is_err());
        return;
    }
    let error = ended.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, SessionError::Dead), "{error}");
}

async fn tells_the_client_why_its_tunnel_is_closed(dialect: Dialect) {
    let (tunnel, session, mut peer) = relay(dialect, Limits::default());
    tunnel.close(Ending::Replaced);
    tunnel.close(Ending::GoingAway);
    assert_eq!(peer.close_frame().await, Ending::Replaced);
    assert_eq!(session.await.unwrap().unwrap(), Ending::Replaced);
}

async fn answers_a_call_that_was_dropped(dialect: Dialect) {
    let (mut incoming, _session, mut peer) = client(dialect, Limits::default());
    peer.ask("host").await;
    drop(incoming.next().await.unwrap());
    assert_eq!(peer.refused().await, "unanswered");
}

async fn answers_a_request_that_it_cannot_read(dialect: Dialect) {
    let (_incoming, _session, mut peer) = client(dialect, Limits::default());
    peer.ask("no name").await;
    assert_eq!(peer.refused().await, "unreadable-request");
}

async fn refuses_what_only_a_proxy_would_take(dialect: Dialect) {
    let (mut incoming, _session, mut peer) = client(dialect, Limits::default());
    for (method, target) in [("CONNECT", "/"), ("CONNECT", "*"), ("TRACE", "/")] {
        peer.ask_for(method, target).await;
        let refused = (501, "method-not-replayed".to_owned());
        assert_eq!(peer.refusal().await, refused, "{method} {target}");
    }
    for (method, target) in [("GET", "*"), ("CONNECT", "evil.example:80")] {
        peer.ask_for(method, target).await;
        assert_eq!(
            peer.refused().await,
            "unreadable-request",
            "{method} {target}"
        );
    }
    peer.ask_for("OPTIONS", "*").await;
    assert_eq!(arrived(&mut incoming).await.request.uri(), "*");
}

async fn refuses_heads_over_the_limit(dialect: Dialect) {
    let (_incoming, _session, mut peer) = client(dialect, Limits::default());
    let long = "v".repeat(140_000);
    let request = match dialect {
        Dialect::MagicMirror => json!({ "method": "GET", "uri": "/", "headers": { "a": [long] } }),
        _ => json!({ "Req": format!("GET / HTTP/1.1\r\na: {long}\r\n\r\n"), "URL": "/" }),
    };
    peer.send(&request).await;
    let refused = (431, "head-too-large".to_owned());
    assert_eq!(peer.refusal().await, refused);

    let long = "v".repeat(300_000);
    let (tunnel, session, mut peer) = relay(dialect, Limits::default());
    let handle = tunnel.clone();
    let refused = tokio::spawn(async move { handle.call(get("/")).await.map(drop) });
    peer.asked().await;
    let answer = match dialect {
        Dialect::MagicMirror => {
            json!({ "body": "", "headers": { "a": [long] }, "status_code": 200 })
        }
        _ => json!({ "StatusCode": 200, "Header": { "a": [long] }, "Body": "" }),
    };
    peer.send(&answer).await;
    let refused = refused.await.unwrap();
    assert!(
        matches!(refused, Err(CallError::ResponseHeadTooLarge)),
        "{refused:?}"
    );
    assert!(!session.is_finished());
}

async fn leaves_a_relay_that_speaks_out_of_turn(dialect: Dialect) {
    let (mut incoming, session, mut peer) = client(dialect, Limits::default());
    peer.ask("host").await;
    let _call = incoming.next().await.unwrap();
    peer.ask("host").await;
    assert!(matches!(
        session.await.unwrap(),
        Err(SessionError::OutOfTurn)
    ));
}

async fn replaces_a_response_that_it_cannot_carry(dialect: Dialect) {
    let limits = Limits {
        body: 4,
        ..Limits::default()
    };
    let (mut incoming, _session, mut peer) = client(dialect, limits);
    let large = Response::new(Full::from("12345"));
    let odd = Response::builder()
        .header("x-a", &b"\xe9"[..])
        .body(Full::from(""))
        .unwrap();
    for (response, code) in [
        (large, "response-too-large"),
        (odd, "response-field-not-text"),
    ] {
        peer.ask("host").await;
        let IncomingCall { responder, .. } = arrived(&mut incoming).await;
        assert_eq!(responder.respond(response).await.status, 502);
        assert_eq!(peer.refused().await, code);
    }
}
