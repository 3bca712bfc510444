//! A program that publishes itself: its service answers visitors through a relay.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::{HeaderMap, Uri};
use axum::routing::{get, post};
use futures_util::{SinkExt, StreamExt, stream};
use ggrok_client::{Client, Event, LocalAddress, RelayAddress, RunError};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite;

use crate::support::{Origin, PATIENCE, Relay, Seen, Wire, eventually, fields, noise, raw};

/// A program that publishes itself. Dropping it ends its client.
struct Published {
    relay: Relay,
    client: JoinHandle<Result<(), RunError>>,
}

impl Drop for Published {
    fn drop(&mut self) {
        self.client.abort();
    }
}

impl Published {
    async fn start(router: Router) -> Self {
        let relay = Relay::start().await;
        let (ready, is_ready) = mpsc::channel(100);
        let client = Client::builder()
            .relay(&relay.address.to_string())
            .unwrap()
            .on_event(move |event| drop(ready.try_send(event)));
        let client = tokio::spawn(client.serve(router));
        await_ready(is_ready, &relay).await;
        Self { relay, client }
    }

    /// A visitor's connection on which this was said. `HOST` stands for the relay's host.
    async fn visitor(&self, said: &str) -> Wire {
        let mut visitor = Wire::connect(self.relay.address).await;
        let host = format!("Host: {}", self.relay.address);
        visitor.send(said.replace("HOST", &host)).await;
        visitor
    }
}

async fn await_ready(mut events: mpsc::Receiver<Event>, relay: &Relay) {
    let event = timeout(PATIENCE, events.recv()).await;
    let Some(Event::Ready { url }) = event.expect("nothing happened") else {
        panic!("something else happened before");
    };
    assert_eq!(url, format!("http://{}", relay.address));
}

#[tokio::test]
async fn answers_requests() {
    let echo = async |uri: Uri, headers: HeaderMap, body: Bytes| {
        let fields = headers.get_all("x-a").iter();
        let fields: Vec<_> = fields.map(|value| value.to_str().unwrap()).collect();
        let head = format!("{uri} {fields:?} ");
        [head.as_bytes(), &body].concat()
    };
    let router = Router::new()
        .route("/echo/{*rest}", post(echo))
        .route("/page", get(async || "a page"));
    let program = Published::start(router).await;
    let address = program.relay.address;

    let body = "x".repeat(300_000);
    let length = body.len();
    // The second request of a connection to the service is like the first.
    for _ in 0..2 {
        let answer = raw(
            address,
            format!("POST /echo/a%2Fb?q=//c HTTP/1.1\r\nHost: {address}\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"),
        )
        .await;
        let expected = format!("/echo/a%2Fb?q=//c [\"1\", \"2\"] {body}");
        assert!(answer.whole().unwrap() == expected.as_bytes());
    }
    for (method, target, status, body) in [
        ("GET", "/page", 200, "a page"),
        ("HEAD", "/page", 200, ""),
        ("GET", "/else", 404, ""),
        ("PUT", "/page", 405, ""),
    ] {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n");
        let answer = raw(address, format!("{head}Connection: close\r\n\r\n")).await;
        assert_eq!((answer.status(), answer.text()), (status, body), "{target}");
        assert_eq!(answer.error(), None);
        if method == "HEAD" {
            assert_eq!(answer.field("content-length"), ["6"]);
        }
    }
}

#[tokio::test]
async fn takes_as_many_fields_as_a_relay_lets_through() {
    let count = async |headers: HeaderMap| headers.len().to_string();
    let program = Published::start(Router::new().route("/", get(count))).await;
    let address = program.relay.address;
    let fields = (0..200).fold(String::new(), |fields, number| {
        format!("{fields}X-{number}: 1\r\n")
    });
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n{fields}Connection: close\r\n\r\n");
    let answer = raw(address, request).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().parse::<usize>().unwrap() > 200);
}

#[tokio::test]
async fn streams_both_ways_as_it_comes() {
    let talk = async |request: Body| {
        let pieces = request.into_data_stream();
        Body::from_stream(pieces.map(|piece| {
            let piece = piece.unwrap();
            Ok::<_, Infallible>(piece.to_ascii_uppercase())
        }))
    };
    let program = Published::start(Router::new().route("/", post(talk))).await;
    let mut visitor = program
        .visitor("POST / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    visitor.send_chunk(b"first").await;
    visitor.head().await;
    assert_eq!(visitor.chunks(5).await, b"FIRST");
    for _ in 0..20 {
        visitor.send_chunk(b"more").await;
        assert_eq!(visitor.chunks(4).await, b"MORE");
    }
    visitor.send("0\r\n\r\n").await;
    assert_eq!(visitor.until(b"\r\n\r\n").await, b"0\r\n\r\n");
}

#[tokio::test]
async fn carries_a_websocket() {
    let echo = async |upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) =
                socket.recv().await
            {
                socket.send(message).await.unwrap();
            }
        })
    };
    let program = Published::start(Router::new().route("/ws", get(echo))).await;
    let address = program.relay.address;
    for _ in 0..20 {
        let stream = TcpStream::connect(address).await.unwrap();
        let handshake = client_async(format!("ws://{address}/ws"), stream);
        let (mut socket, _) = timeout(PATIENCE, handshake).await.unwrap().unwrap();
        for message in [
            tungstenite::Message::text("grüße"),
            tungstenite::Message::binary(noise(300_000)),
        ] {
            socket.send(message.clone()).await.unwrap();
            let echoed = timeout(PATIENCE, socket.next()).await.unwrap();
            assert!(echoed.unwrap().unwrap() == message);
        }
        socket.close(None).await.unwrap();
    }
}

/// A handler that tells when it starts and when it is dropped.
fn endless(started: mpsc::Sender<oneshot::Receiver<Infallible>>) -> Router {
    let wait = async move || {
        let (_guard, dropped) = oneshot::channel::<Infallible>();
        started.send(dropped).await.unwrap();
        std::future::pending::<()>().await;
    };
    Router::new().route("/", get(wait.clone()).post(wait))
}

#[tokio::test]
async fn drops_a_call_that_nobody_waits_for() {
    let (started, mut starts) = mpsc::channel(1);
    let program = Published::start(endless(started)).await;
    for said in [
        "GET / HTTP/1.1\r\nHOST\r\n\r\n",
        "POST / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let visitor = program.visitor(said).await;
        let dropped = timeout(PATIENCE, starts.recv()).await.unwrap().unwrap();
        drop(visitor);
        timeout(PATIENCE, dropped).await.unwrap().unwrap_err();
    }
}

#[tokio::test]
async fn ends_with_its_future() {
    let (started, mut starts) = mpsc::channel(1);
    let program = Published::start(endless(started)).await;
    let _visitor = program.visitor("GET / HTTP/1.1\r\nHOST\r\n\r\n").await;
    let dropped = timeout(PATIENCE, starts.recv()).await.unwrap().unwrap();
    program.client.abort();
    timeout(PATIENCE, dropped).await.unwrap().unwrap_err();
    eventually("the tunnel is gone", async || {
        (program.relay.tunnels().await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn survives_a_handler_that_panics() {
    let router = Router::new()
        .route("/panic", get(async || -> String { panic!("on purpose") }))
        .route("/", get(async || "fine"));
    let program = Published::start(router).await;
    let address = program.relay.address;
    for _ in 0..2 {
        let answer = crate::support::get(address, "/panic").await;
        let told = (answer.status(), answer.error());
        assert_eq!(told, (502, Some("local-broken")));
        assert_eq!(crate::support::get(address, "/").await.text(), "fine");
    }
}

#[tokio::test]
async fn shows_a_body_that_breaks_off_as_broken() {
    let (piece, pieces) = mpsc::channel::<Result<&str, &str>>(1);
    let pieces = stream::unfold(pieces, async |mut pieces| {
        Some((pieces.recv().await?, pieces))
    });
    let once = Arc::new(Mutex::new(Some(Body::from_stream(pieces))));
    let broken = async move || once.lock().unwrap().take().unwrap();
    let program = Published::start(Router::new().route("/", get(broken))).await;
    let mut visitor = program.visitor("GET / HTTP/1.1\r\nHOST\r\n\r\n").await;
    piece.send(Ok("begun")).await.unwrap();
    visitor.head().await;
    assert_eq!(visitor.chunks(5).await, b"begun");
    piece.send(Err("broken")).await.unwrap();
    assert_eq!(visitor.rest().await, b"");
}

#[tokio::test]
async fn forwards_to_a_local_server_until_its_shutdown() {
    let ok = |_: &Seen| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec();
    let origin = Origin::start(ok).await;
    let relay = Relay::start().await;
    let address: RelayAddress = relay.address.to_string().parse().unwrap();
    let (ready, is_ready) = mpsc::channel(100);
    let (stop, stopped) = oneshot::channel::<()>();
    let client = Client::new(address)
        .on_event(move |event| drop(ready.try_send(event)))
        .shutdown(async { stopped.await.unwrap() });
    let local = LocalAddress::port(origin.address.port());
    let client = tokio::spawn(client.forward(local));
    await_ready(is_ready, &relay).await;
    let answer = crate::support::get(relay.address, "/").await;
    assert_eq!(answer.text(), "hi");
    assert_eq!(fields(&answer.head, "content-length"), ["2"]);
    stop.send(()).unwrap();
    let ended = timeout(Duration::from_secs(5), client).await.unwrap();
    ended.unwrap().unwrap();
}
