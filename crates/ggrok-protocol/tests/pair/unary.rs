//! Calls that take turns.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use ggrok_protocol::{
    Arrival, CallError, Dialect, Ending, Incoming, IncomingCall, Limits, Message, SessionError,
    Tunnel, accept, open,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::task::JoinHandle;

use crate::memory::{End, ends};

type Ended = JoinHandle<Result<Ending, SessionError>>;

/// A relay's end with a test in the client's place.
fn relay(limits: Limits) -> (Tunnel, Ended, End) {
    let (near, far) = ends();
    let (tunnel, session) = open(Dialect::Ggrok, limits);
    (tunnel, tokio::spawn(session.run(near)), far)
}

/// A client's end with a test in the relay's place.
fn client(limits: Limits) -> (Incoming, Ended, End) {
    let (near, far) = ends();
    let (incoming, session) = accept(Dialect::Ggrok, limits);
    (incoming, tokio::spawn(session.run(near)), far)
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

/// The next envelope that the other end sends.
async fn envelope(far: &mut End) -> serde_json::Value {
    loop {
        match far.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_slice(&text).unwrap(),
            Message::Ping | Message::Pong => {}
            other => panic!("{other:?} is no envelope"),
        }
    }
}

async fn close_frame(far: &mut End) -> Ending {
    loop {
        match far.next().await.unwrap().unwrap() {
            Message::Close(ending) => return ending,
            Message::Ping | Message::Pong => {}
            other => panic!("{other:?} is no close frame"),
        }
    }
}

const OK: &[u8] = br#"{"StatusCode":200,"Header":{},"Body":"aGk="}"#;

async fn send(far: &mut End, message: &'static [u8]) {
    far.send(Message::Text(message.into())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn carries_calls_one_after_the_other() {
    let (near, far) = ends();
    let (tunnel, relay) = open(Dialect::Ggrok, Limits::default());
    let (mut incoming, client) = accept(Dialect::Ggrok, Limits::default());
    tokio::spawn(relay.run(near));
    tokio::spawn(client.run(far));
    let calls: Vec<_> = ["/1", "/2", "/3"].map(|path| call(&tunnel, path)).into();
    for _ in 0..3 {
        let IncomingCall { request, responder } = arrived(&mut incoming).await;
        assert!(
            tokio::time::timeout(Duration::from_secs(1), incoming.next())
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

#[tokio::test(start_paused = true)]
async fn keeps_the_turn_of_a_visitor_who_left() {
    let (tunnel, _session, mut far) = relay(Limits::default());
    let first = call(&tunnel, "/first");
    assert!(envelope(&mut far).await["URL"] == "/first");
    first.abort();
    let second = call(&tunnel, "/second");
    let early = tokio::time::timeout(Duration::from_secs(5), envelope(&mut far));
    assert!(
        early.await.is_err(),
        "the second request overtook the first answer"
    );
    send(&mut far, br#"{"StatusCode":200,"Body":"b2xk"}"#).await;
    assert!(envelope(&mut far).await["URL"] == "/second");
    send(&mut far, OK).await;
    assert_eq!(second.await.unwrap().unwrap(), "hi");
}

#[tokio::test(start_paused = true)]
async fn ends_the_tunnel_over_a_call_without_an_answer() {
    let (tunnel, session, mut far) = relay(Limits::default());
    let unanswered = call(&tunnel, "/");
    envelope(&mut far).await;
    let waiting = call(&tunnel, "/waits");
    assert_eq!(close_frame(&mut far).await, Ending::TimedOut);
    assert!(matches!(
        unanswered.await.unwrap(),
        Err(CallError::TimedOut)
    ));
    let waited = waiting.await.unwrap();
    assert!(
        matches!(waited, Err(CallError::Closed | CallError::TimedOut)),
        "{waited:?}"
    );
    drop(far);
    assert!(matches!(
        session.await.unwrap(),
        Err(SessionError::CallTimedOut)
    ));
    assert!(matches!(
        tunnel.call(get("/")).await,
        Err(CallError::Closed)
    ));
}

#[tokio::test(start_paused = true)]
async fn ends_the_tunnel_over_an_answer_that_nobody_asked_for() {
    let (_tunnel, session, mut far) = relay(Limits::default());
    send(&mut far, OK).await;
    assert_eq!(close_frame(&mut far).await, Ending::Violation);
    assert!(matches!(
        session.await.unwrap(),
        Err(SessionError::OutOfTurn)
    ));
}

#[tokio::test(start_paused = true)]
async fn ends_the_tunnel_over_a_message_that_is_no_envelope() {
    let (tunnel, session, mut far) = relay(Limits::default());
    let call = call(&tunnel, "/");
    envelope(&mut far).await;
    send(&mut far, b"hello").await;
    assert!(matches!(call.await.unwrap(), Err(CallError::Decode(_))));
    assert_eq!(close_frame(&mut far).await, Ending::Violation);
    assert!(matches!(
        session.await.unwrap(),
        Err(SessionError::NoEnvelope(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn spares_the_tunnel_where_only_the_response_is_bad() {
    let (tunnel, _session, mut far) = relay(Limits::default());
    let bad = call(&tunnel, "/");
    envelope(&mut far).await;
    send(&mut far, br#"{"StatusCode":99}"#).await;
    assert!(matches!(bad.await.unwrap(), Err(CallError::Decode(_))));
    let good = call(&tunnel, "/");
    envelope(&mut far).await;
    send(&mut far, OK).await;
    assert_eq!(good.await.unwrap().unwrap(), "hi");
}

#[tokio::test(start_paused = true)]
async fn fails_calls_when_the_client_leaves() {
    let (tunnel, session, mut far) = relay(Limits::default());
    let running = call(&tunnel, "/");
    envelope(&mut far).await;
    let waiting = call(&tunnel, "/");
    drop(far);
    assert!(matches!(running.await.unwrap(), Err(CallError::Closed)));
    assert!(matches!(waiting.await.unwrap(), Err(CallError::Closed)));
    assert!(session.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn refuses_bodies_and_calls_over_its_limits() {
    let limits = Limits {
        body: 4,
        calls: 1,
        ..Limits::default()
    };
    let (tunnel, _session, mut far) = relay(limits);
    assert!(matches!(
        tunnel.call(post(b"12345")).await,
        Err(CallError::BodyTooLarge)
    ));
    let running = call(&tunnel, "/");
    envelope(&mut far).await;
    assert!(matches!(
        tunnel.call(get("/")).await,
        Err(CallError::TooManyCalls)
    ));
    send(&mut far, OK).await;
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn bounds_the_bytes_that_it_holds() {
    let limits = Limits {
        body: 10,
        held: 0, // Twice the largest body, then: 20.
        ..Limits::default()
    };
    let (tunnel, _session, mut far) = relay(limits);
    let upload = |tunnel: &Tunnel| {
        let tunnel = tunnel.clone();
        tokio::spawn(async move { tunnel.call(post(b"0123456789")).await })
    };
    let first = upload(&tunnel);
    envelope(&mut far).await;
    let second = upload(&tunnel);
    tokio::task::yield_now().await;
    assert!(matches!(
        tunnel.call(post(b"0")).await,
        Err(CallError::TooManyBytes)
    ));

    send(&mut far, OK).await;
    let response = first.await.unwrap().unwrap();
    envelope(&mut far).await;
    send(&mut far, OK).await;
    drop((response, second.await.unwrap().unwrap()));
    let third = upload(&tunnel);
    envelope(&mut far).await;
    send(&mut far, OK).await;
    third.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn takes_a_silent_client_for_dead() {
    let (_tunnel, session, mut far) = relay(Limits::default());
    // Reads nothing, and so answers no ping.
    let error = session.await.unwrap().unwrap_err();
    assert!(matches!(error, SessionError::Dead), "{error}");
    assert!(matches!(far.next().await, Some(Ok(Message::Ping))));
}

#[tokio::test(start_paused = true)]
async fn keeps_a_client_that_answers_pings_for_hours() {
    let (near, far) = ends();
    let (tunnel, relay) = open(Dialect::Ggrok, Limits::default());
    let (mut incoming, client) = accept(Dialect::Ggrok, Limits::default());
    let relay = tokio::spawn(relay.run(near));
    let client = tokio::spawn(client.run(far));
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    assert!(!relay.is_finished() && !client.is_finished());
    let call = call(&tunnel, "/");
    let IncomingCall { responder, .. } = arrived(&mut incoming).await;
    responder.respond(Response::new(Full::from("awake"))).await;
    assert_eq!(call.await.unwrap().unwrap(), "awake");
}

#[tokio::test(start_paused = true)]
async fn stays_with_a_relay_that_never_pings() {
    let (_incoming, session, far) = client(Limits::default());
    let mut far = far;
    let quiet = async { while far.incoming.recv().await.is_some() {} };
    assert!(
        tokio::time::timeout(Duration::from_secs(3600), quiet)
            .await
            .is_err()
    );
    assert!(!session.is_finished());
}

#[tokio::test(start_paused = true)]
async fn notices_that_a_relay_that_pinged_is_dead() {
    let (_incoming, session, mut far) = client(Limits::default());
    far.send(Message::Ping).await.unwrap();
    let error = session.await.unwrap().unwrap_err();
    assert!(matches!(error, SessionError::Dead), "{error}");
}

#[tokio::test(start_paused = true)]
async fn tells_the_client_why_its_tunnel_is_closed() {
    let (tunnel, session, mut far) = relay(Limits::default());
    tunnel.close(Ending::Replaced);
    tunnel.close(Ending::GoingAway);
    assert_eq!(close_frame(&mut far).await, Ending::Replaced);
    assert_eq!(session.await.unwrap().unwrap(), Ending::Replaced);
}

const REQUEST: &[u8] = br#"{"Req":"GET / HTTP/1.1\r\nHost: a\r\n\r\n","URL":"/"}"#;

#[tokio::test(start_paused = true)]
async fn answers_a_call_that_was_dropped() {
    let (mut incoming, _session, mut far) = client(Limits::default());
    send(&mut far, REQUEST).await;
    drop(incoming.next().await.unwrap());
    let answer = envelope(&mut far).await;
    assert_eq!(answer["StatusCode"], 502);
    assert_eq!(answer["Header"]["X-Ggrok-Error"][0], "unanswered");
}

#[tokio::test(start_paused = true)]
async fn answers_a_request_that_it_cannot_read() {
    let (_incoming, _session, mut far) = client(Limits::default());
    send(
        &mut far,
        br#"{"Req":"GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\n","URL":"/"}"#,
    )
    .await;
    let answer = envelope(&mut far).await;
    assert_eq!(answer["Header"]["X-Ggrok-Error"][0], "unreadable-request");
}

#[tokio::test(start_paused = true)]
async fn leaves_a_relay_that_speaks_out_of_turn() {
    let (mut incoming, session, mut far) = client(Limits::default());
    send(&mut far, REQUEST).await;
    let _call = incoming.next().await.unwrap();
    send(&mut far, REQUEST).await;
    assert!(matches!(
        session.await.unwrap(),
        Err(SessionError::OutOfTurn)
    ));
}

#[tokio::test(start_paused = true)]
async fn replaces_a_response_that_it_cannot_carry() {
    let limits = Limits {
        body: 4,
        ..Limits::default()
    };
    let (mut incoming, _session, mut far) = client(limits);
    let large = Response::new(Full::from("12345"));
    let odd = Response::builder()
        .header("x-a", &b"\xe9"[..])
        .body(Full::from(""))
        .unwrap();
    for (response, code) in [
        (large, "response-too-large"),
        (odd, "response-field-not-text"),
    ] {
        send(&mut far, REQUEST).await;
        let IncomingCall { responder, .. } = arrived(&mut incoming).await;
        assert_eq!(responder.respond(response).await, 502);
        let answer = envelope(&mut far).await;
        assert_eq!(answer["Header"]["X-Ggrok-Error"][0], code);
    }
}
