//! Clients that break the rules lose their connection, and nobody else loses anything.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use ggrok_protocol::Ending;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{Answer, Client, Origin, PATIENCE, Relay, Seen, config, eventually, get};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn register(relay: &Relay) -> Socket {
    let url = format!("ws://{}/$$ggrok", relay.address);
    connect_async(url).await.unwrap().0
}

/// What the relay says in its close frame, if it says something.
async fn close_code(socket: &mut Socket) -> Option<u16> {
    let reading = async {
        while let Some(message) = socket.next().await {
            match message {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("the relay did not close")
}

fn visit(relay: &Relay) -> JoinHandle<Answer> {
    let address = relay.address;
    tokio::spawn(async move { get(address, "/").await })
}

/// Another client of the same relay that must not notice anything.
async fn bystander(relay: &Relay) -> (Origin, Client) {
    let origin =
        Origin::start(|_: &Seen| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()).await;
    let mut settings = config(relay, &origin);
    settings.relay = format!("localhost:{}", relay.address.port())
        .parse()
        .unwrap();
    let client = Client::ready(settings).await;
    (origin, client)
}

async fn bystander_is_well(relay: &Relay) {
    let port = relay.address.port();
    let request = format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(
        crate::support::raw(relay.address, request).await.status(),
        200
    );
}

#[tokio::test]
async fn answers_that_are_no_envelopes_cost_the_call_and_the_connection() {
    let relay = Relay::with(|config| config.limits.body = 1000).await;
    let _bystander = bystander(&relay).await;
    let huge = format!(r#"{{"StatusCode":200,"Body":"{}"}}"#, "A".repeat(2 << 20));
    for (answer, error, code) in [
        (
            Message::text("hello"),
            "bad-answer",
            Some(Ending::Violation),
        ),
        (
            Message::binary(vec![0xff; 10]),
            "bad-answer",
            Some(Ending::Violation),
        ),
        (
            Message::text(r#"{"StatusCode":200,"Body":"*"}"#),
            "bad-answer",
            Some(Ending::Violation),
        ),
        (
            Message::text(huge),
            "response-too-large",
            Some(Ending::TooBig),
        ),
    ] {
        let mut socket = register(&relay).await;
        let visit = visit(&relay);
        socket.next().await.unwrap().unwrap();
        socket.send(answer).await.ok();
        let seen = visit.await.unwrap();
        assert_eq!((seen.status(), seen.error()), (502, Some(error)));
        if let Some(told) = close_code(&mut socket).await {
            assert_eq!(Some(told), code.map(Ending::code));
        }
        bystander_is_well(&relay).await;
    }
}

#[tokio::test]
async fn an_answer_nobody_asked_for_costs_the_connection() {
    let relay = Relay::start().await;
    let _bystander = bystander(&relay).await;
    let mut socket = register(&relay).await;
    socket
        .send(Message::text(r#"{"StatusCode":200}"#))
        .await
        .unwrap();
    assert_eq!(
        close_code(&mut socket).await,
        Some(Ending::Violation.code())
    );
    bystander_is_well(&relay).await;
}

#[tokio::test]
async fn an_answer_with_a_forged_field_never_reaches_the_visitor() {
    let relay = Relay::start().await;
    let mut socket = register(&relay).await;
    for header in [
        r#"{"X-A":["b\r\nSet-Cookie: c"]}"#,
        r#"{"X-A: b\r\nSet-Cookie":["c"]}"#,
        r#"{"X-A":["\u0000"]}"#,
    ] {
        let visit = visit(&relay);
        socket.next().await.unwrap().unwrap();
        let answer = format!(r#"{{"StatusCode":200,"Header":{header}}}"#);
        socket.send(Message::text(answer)).await.unwrap();
        let seen = visit.await.unwrap();
        assert_eq!((seen.status(), seen.error()), (502, Some("bad-answer")));
        assert!(seen.field("set-cookie").is_empty());
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_a_call_costs_that_call_alone() {
    let relay = Relay::start().await;
    let mut socket = register(&relay).await;
    let visit = visit(&relay);
    socket.next().await.unwrap().unwrap();
    drop(socket);
    let seen = visit.await.unwrap();
    assert_eq!((seen.status(), seen.error()), (502, Some("tunnel-closed")));
    eventually("the relay forgets the client", async || {
        (relay.tunnels().await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_costs_the_call_and_its_connection() {
    let relay = Relay::with(|config| config.limits.call_timeout = Duration::from_millis(300)).await;
    let mut socket = register(&relay).await;
    let seen = get(relay.address, "/").await;
    assert_eq!((seen.status(), seen.error()), (504, Some("timed-out")));
    assert_eq!(close_code(&mut socket).await, Some(Ending::TimedOut.code()));
}

#[tokio::test]
async fn a_silent_client_is_taken_for_dead() {
    let relay = Relay::with(|config| {
        // Time enough for the other client to answer on a busy machine.
        config.limits.ping_every = Duration::from_millis(200);
        config.limits.dead_after = Duration::from_secs(3);
    })
    .await;
    let (_origin, _client) = bystander(&relay).await;
    // Registered, and never polled again: it answers no ping.
    let _silent = register(&relay).await;
    eventually("the silent one is gone", async || {
        (relay.tunnels().await == 1).then_some(())
    })
    .await;
    assert_eq!(get(relay.address, "/").await.error(), Some("offline"));
    bystander_is_well(&relay).await;
}
