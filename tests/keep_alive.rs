//! A request that must not be sent twice takes no local connection that may be closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{Client, Relay, Wire, raw};

/// An app that closes each connection after an idle time, silently. A request that comes at that very
/// moment is lost.
struct App {
    connections: Arc<AtomicUsize>,
    relay: Relay,
    _client: Client,
    _task: JoinSet<()>,
}

impl App {
    /// `closes` serves a connection that has answered once.
    async fn start<F>(closes: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap().to_string();
        let connections: Arc<AtomicUsize> = Arc::default();
        let opened = Arc::clone(&connections);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let served = Arc::clone(&opened);
                let rest = &closes;
                let first = async move {
                    if !answers(&mut stream).await {
                        return None;
                    }
                    served.fetch_add(1, Ordering::Relaxed);
                    Some(stream)
                };
                // The client's first connection only looks whether the app is there.
                if let Some(stream) = first.await {
                    open.spawn(rest(stream));
                }
            }
        });
        let relay = Relay::start().await;
        let settings = ggrok_client::Config::new(
            relay.address.to_string().parse().unwrap(),
            local.parse().unwrap(),
        );
        Self {
            connections,
            _client: Client::ready(settings).await,
            relay,
            _task: task,
        }
    }

    async fn status(&self, method: &str, body: &str) -> u16 {
        let (host, length) = (self.relay.address, body.len());
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        raw(host, request).await.status()
    }

    /// Connections on which a request came.
    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Reads a request and answers it; false at the connection's end.
async fn answers(stream: &mut TcpStream) -> bool {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = crate::support::fields(head, "content-length");
            let length: usize = length.first().map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                break;
            }
        }
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    stream.write_all(answer).await.is_ok()
}

/// Answers until nothing comes for this time, and closes a little later without another look.
async fn serve(mut stream: TcpStream, keep_alive: Duration) {
    while timeout(keep_alive, answers(&mut stream)).await == Ok(true) {}
    sleep(Duration::from_millis(5)).await;
}

#[tokio::test]
async fn loses_no_post_where_the_app_closes_as_the_next_request_comes() {
    // It closes as soon as anything comes on a connection that has answered before.
    let app = App::start(|stream| async move {
        stream.readable().await.ok();
    })
    .await;
    for (method, body) in [
        ("POST", "x"),
        ("POST", ""),
        ("PATCH", "x"),
        ("PUT", "x"),
        ("DELETE", "x"),
    ] {
        for _ in 0..6 {
            sleep(Duration::from_millis(120)).await;
            assert_eq!(app.status(method, body).await, 200, "{method} {body:?}");
        }
    }
    assert_eq!(app.connections(), 30);
}

#[tokio::test]
async fn loses_no_post_about_the_end_of_the_apps_keep_alive_time() {
    let app = App::start(|stream| serve(stream, Duration::from_millis(250))).await;
    let mut beats = JoinSet::new();
    let app = Arc::new(app);
    for beat in 0..10 {
        let app = Arc::clone(&app);
        beats.spawn(async move {
            for round in 0..30 {
                sleep(Duration::from_micros(247_000 + (beat * 30 + round) * 20)).await;
                assert_eq!(app.status("POST", "x").await, 200);
            }
        });
    }
    while let Some(beat) = beats.join_next().await {
        beat.unwrap();
    }
}

#[tokio::test]
async fn sends_a_burst_of_posts_over_few_connections_and_gets_over_rested_ones() {
    let app = App::start(|stream| serve(stream, Duration::from_secs(20))).await;
    let mut visitor = Wire::connect(app.relay.address).await;
    let host = app.relay.address;
    for _ in 0..100 {
        let post = format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n\r\nx");
        visitor.send(post).await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        visitor.exactly(2).await;
    }
    // A pause of the machine may cost some.
    let of_burst = app.connections();
    assert!(of_burst <= 10, "{of_burst} connections");
    for _ in 0..3 {
        sleep(Duration::from_millis(200)).await;
        assert_eq!(app.status("GET", "").await, 200);
    }
    assert_eq!(app.connections(), of_burst);
    // A POST leaves it to them.
    assert_eq!(app.status("GET", "").await, 200);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(app.status("POST", "x").await, 200);
    assert_eq!(app.connections(), of_burst + 1);
}
