//! A relay or a client that gives its place to another one loses no call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use ggrok_client::{Config, Event, RunError};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

use crate::support::{
    Client, Origin, PATIENCE, Relay, Seen, Socket, Wires, close_code, config, eventually, fields,
    get,
};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

/// A router before two relays, as platforms have one. Clients come to the second relay as soon as
/// the first one takes no more; visitors when the second one has a client.
struct Router {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Router {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Router {
    async fn start(first: SocketAddr, second: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                open.spawn(route(stream, first, second));
            }
        });
        Self {
            address,
            task: task.abort_handle(),
        }
    }
}

async fn route(mut stream: TcpStream, first: SocketAddr, second: SocketAddr) {
    let mut relay = match TcpStream::connect(first).await {
        Ok(relay) => relay,
        Err(_) => {
            let mut start = [0; 12];
            let peeked = stream.peek(&mut start).await.unwrap();
            if !start[..peeked].starts_with(b"GET /$$ggrok") {
                ready(second).await;
            }
            TcpStream::connect(second).await.unwrap()
        }
    };
    // Either side may break off.
    copy_bidirectional(&mut stream, &mut relay).await.ok();
}

/// Asks a relay for its health until it has a client.
async fn ready(relay: SocketAddr) {
    let asking = async {
        while !get(relay, "/_ggrok/health")
            .await
            .text()
            .contains(r#""tunnels":1"#)
        {}
    };
    timeout(PATIENCE, asking)
        .await
        .expect("the second relay gets no client");
}

#[tokio::test]
async fn loses_no_request_when_a_relay_is_replaced_beside_a_running_one() {
    let mut first = Relay::start().await;
    let second = Relay::start().await;
    let router = Router::start(first.address, second.address).await;
    let address = router.address;
    let origin = Origin::start(ok).await;
    let mut settings = config(&first, &origin);
    settings.relay = address.to_string().parse().unwrap();
    let mut client = Client::ready(settings).await;

    let (over, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut visitors = JoinSet::new();
    for _ in 0..8 {
        let (over, asked) = (Arc::clone(&over), Arc::clone(&asked));
        visitors.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let answer = get(address, "/").await;
                assert_eq!((answer.status(), answer.text()), (200, "hi"));
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let more = async |requests: usize| {
        let before = asked.load(Ordering::Relaxed);
        eventually("there are more answers", async || {
            (asked.load(Ordering::Relaxed) >= before + requests).then_some(())
        })
        .await;
    };
    more(50).await;
    timeout(PATIENCE, first.stop()).await.unwrap().unwrap();
    client.await_ready().await;
    more(50).await;
    over.store(true, Ordering::Relaxed);
    while let Some(visitor) = visitors.join_next().await {
        visitor.unwrap();
    }
    assert_eq!(second.tunnels().await, 1);
}

#[tokio::test]
async fn finishes_a_call_at_the_old_relay_while_the_client_serves_the_new_one() {
    let first = Relay::start().await;
    let second = Relay::start().await;
    let router = Router::start(first.address, second.address).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::ready(Config::new(
        router.address.to_string().parse().unwrap(),
        listener.local_addr().unwrap().to_string().parse().unwrap(),
    ))
    .await;
    let mut old = Wires {
        listener,
        relay: first,
        client,
    };
    let request = "GET / HTTP/1.1\r\nHOST\r\n\r\n";
    let (mut visitor, mut local, _) = old.call(request).await;
    local
        .send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        .await;
    visitor.head().await;
    let mut stopping = std::pin::pin!(timeout(PATIENCE, old.relay.stop()));
    tokio::select! {
        _ = &mut stopping => panic!("the relay did not wait for the call"),
        () = ready(second.address) => {}
    }
    old.client.await_ready().await;
    local.send("done").await;
    assert_eq!(visitor.exactly(8).await, b"halfdone");
    stopping.await.unwrap().unwrap();
    assert_eq!(visitor.rest().await, b"");
}

#[tokio::test]
async fn lets_a_new_client_take_over_and_ends_the_calls_of_the_old_one() {
    let mut old = Wires::start().await;
    let get = "GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n";
    let (waiting, mut unanswered, _) = old.call(get).await;
    let (mut streaming, mut local, _) = old.call(get).await;
    local
        .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        .await;
    streaming.head().await;
    assert_eq!(streaming.exactly(4).await, b"half");

    let origin = Origin::start(ok).await;
    let _new = Client::start(&old.relay, &origin).await;
    // The old client cannot answer any more, and neither do the visitors wait.
    unanswered
        .try_send(ok(&Seen {
            head: String::new(),
            body: vec![],
        }))
        .await
        .ok();
    let answer = String::from_utf8(waiting.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(fields(&answer, "x-ggrok-error"), ["tunnel-closed"]);
    assert_eq!(streaming.rest().await, b"");
    assert_eq!(local.rest().await, b"");
    let Err(error @ RunError::Replaced) = old.client.ended().await else {
        panic!("it was not replaced");
    };
    let says = error.to_string();
    assert!(says.contains("--name or --host"), "{says}");
    assert_eq!(
        crate::support::get(old.relay.address, "/").await.text(),
        "hi"
    );
    assert_eq!(old.relay.tunnels().await, 1);
}

/// A relay's end of a tunnel that it has only just let in, and over which it says GoAway.
async fn let_in_and_go(listener: &TcpListener) -> Socket {
    let (stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let choose = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let chosen = HeaderValue::from_static("ggrok.v2");
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, chosen);
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, choose).await.unwrap();
    let go_away = Message::binary(&b"\x06\0\0\0\0\0"[..]);
    socket.send(go_away).await.unwrap();
    socket
}

#[tokio::test]
async fn goes_ever_slower_from_one_relay_that_leaves_at_once_to_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let origin = Origin::start(ok).await;
    let local = origin.address.to_string();
    let mut settings = Config::new(address.parse().unwrap(), local.parse().unwrap());
    // These relays close nothing.
    settings.grace_period = Duration::from_millis(100);
    let mut client = Client::launch(settings);
    let mut left = Vec::new();
    for nth in 1..=6 {
        // A relay that is replaced may say so early, once.
        if nth > 2 {
            let event = client.event().await;
            assert!(matches!(event, Event::Waiting { .. }), "{nth}: {event:?}");
        }
        left.push(let_in_and_go(&listener).await);
        let event = client.event().await;
        assert!(matches!(event, Event::Ready { .. }), "{nth}: {event:?}");
    }
    // Nor does it keep ever more of them.
    assert_eq!(close_code(&mut left[0]).await, Some(1000));
    let kept = timeout(Duration::from_millis(50), left[5].next()).await;
    assert!(kept.is_err(), "it left the newest: {kept:?}");
    client.stop().await.unwrap();
}
