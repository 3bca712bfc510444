//! Clients that break the rules lose their connection, and nobody else loses anything.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use ggrok_protocol::Ending;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{
    Answer, Client, Origin, PATIENCE, Relay, Seen, config, eventually, get, in_v2,
};

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

/// The header of a masked frame of so many bytes, with a key of zeros.
fn frame_header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first, 0x80 | 127];
    header.extend(length.to_be_bytes());
    header.extend([0; 4]);
    header
}

/// Only the beginning of each message is sent, so nothing but that can be the reason.
#[tokio::test]
async fn a_message_that_is_not_due_costs_the_connection_when_it_begins() {
    let relay = Relay::start().await;
    let _bystander = bystander(&relay).await;
    let (text, binary, begun) = (0x81, 0x82, 0x02);
    for (v2, first, payload, code) in [
        (false, text, &b"x"[..], Ending::Violation),
        (false, binary, b"x", Ending::Violation),
        (false, begun, b"x", Ending::Violation),
        (true, text, b"x", Ending::Violation),
        (true, binary, b"\x02\0\0\0\0\x01", Ending::TooBig),
        (true, begun, b"\x01\0\0\0\0\x01", Ending::TooBig),
    ] {
        let mut socket = if v2 {
            let url = format!("ws://{}/$$ggrok", relay.address);
            let handshake = in_v2(url.into_client_request().unwrap());
            connect_async(handshake).await.unwrap().0
        } else {
            register(&relay).await
        };
        let mut sent = frame_header(first, 1 << 20);
        sent.extend(payload);
        socket.get_mut().write_all(&sent).await.unwrap();
        let told = close_code(&mut socket).await;
        assert_eq!(told, Some(code.code()), "{v2} {first} {payload:?}");
        bystander_is_well(&relay).await;
    }
}

#[tokio::test]
async fn a_message_that_stays_unfinished_costs_the_connection_whatever_comes_between() {
    let relay = Relay::with(|config| {
        config.limits.ping_every = Duration::from_millis(100);
        config.limits.dead_after = Duration::from_millis(500);
    })
    .await;
    let url = format!("ws://{}/$$ggrok", relay.address);
    let handshake = in_v2(url.into_client_request().unwrap());
    let mut socket = connect_async(handshake).await.unwrap().0;
    // A fragment of a message, and from then on the answers to pings alone.
    let mut sent = frame_header(0x02, 6);
    sent.extend(b"\x02\0\0\0\0\x01");
    socket.get_mut().write_all(&sent).await.unwrap();
    let told = close_code(&mut socket).await;
    assert_eq!(told, Some(Ending::GoingAway.code()));
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
