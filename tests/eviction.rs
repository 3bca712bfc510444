//! Where all places are taken, connections without a request give way to new ones.

use std::io::ErrorKind::WouldBlock;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ggrok_client::Token;
use ggrok_server::{Access, Config};
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::support::{
    Client, Http2, Origin, PATIENCE, Relay, Seen, Wire, config, dial, eventually, get, handshake,
    refused,
};

/// Answers at once, but `/never`.
fn app(seen: &Seen) -> Vec<u8> {
    match seen.target() {
        "/never" => Vec::new(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec(),
    }
}

struct Stage {
    relay: Relay,
    origin: Origin,
    _client: Client,
}

impl Stage {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let relay = Relay::with(change).await;
        let origin = Origin::start(app).await;
        let mut settings = config(&relay, &origin);
        settings.token = Token::new("s3cret");
        let client = Client::ready(settings).await;
        Self {
            relay,
            origin,
            _client: client,
        }
    }

    fn at(&self) -> SocketAddr {
        self.relay.address
    }

    /// A request for the app that leaves the connection open.
    fn request(&self, target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.at())
    }

    /// A visitor from an address of loopback.
    async fn visitor(&self, address: &str) -> Wire {
        let socket = TcpSocket::new_v4().unwrap();
        let address: IpAddr = address.parse().unwrap();
        socket.bind((address, 0).into()).unwrap();
        Wire::new(socket.connect(self.at()).await.unwrap())
    }

    /// A visitor whose connection is idle after an answer.
    async fn idle(&self, address: &str) -> Wire {
        let mut visitor = self.visitor(address).await;
        self.is_served(&mut visitor).await;
        visitor
    }

    async fn is_served(&self, visitor: &mut Wire) {
        visitor.send(self.request("/")).await;
        visitor.until(b"\r\n\r\nhi").await;
    }

    /// Visitors whose requests the app does not answer.
    async fn busy(&self, address: &str, count: usize) -> Vec<Wire> {
        let before = self.origin.seen().len();
        let mut visitors = Vec::new();
        for _ in 0..count {
            let mut visitor = self.visitor(address).await;
            visitor.send(self.request("/never")).await;
            visitors.push(visitor);
        }
        eventually("all are at the local server", async || {
            (self.origin.seen().len() == before + count).then_some(())
        })
        .await;
        visitors
    }
}

/// Waits for the orderly end of a connection on which nothing more is said.
async fn is_closed(visitor: Wire) {
    let mut stream = visitor.into_stream();
    let mut rest = Vec::new();
    let reading = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    reading.expect("the relay does not close").unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn the_connection_that_is_idle_longest_gives_way() {
    let stage = Stage::start(|config| config.connections = 3).await;
    let mut first = stage.idle("127.0.0.1").await;
    let second = stage.idle("127.0.0.1").await;
    let mut third = stage.idle("127.0.0.1").await;
    stage.is_served(&mut first).await;
    let mut newcomer = stage.idle("127.0.0.1").await;
    is_closed(second).await;
    for visitor in [&mut first, &mut third, &mut newcomer] {
        stage.is_served(visitor).await;
    }
}

#[tokio::test]
async fn connections_without_a_complete_head_give_way() {
    let stage = Stage::start(|config| config.connections = 3).await;
    for begun in ["", "GET / HTTP/1.1\r\nHost: a\r\nX: "] {
        let mut held = Vec::new();
        for _ in 0..3 {
            let mut visitor = stage.visitor("127.0.0.1").await;
            visitor.send(begun).await;
            held.push(visitor);
        }
        for _ in 0..10 {
            assert_eq!(get(stage.at(), "/").await.status(), 200);
        }
    }
}

#[tokio::test]
async fn idle_connections_give_way_while_the_relay_looks_for_http2() {
    let stage = Stage::start(|config| {
        config.connections = 2;
        config.http2 = true;
    })
    .await;
    let http2 = Http2::connect(stage.at()).await;
    let mut silent = stage.visitor("127.0.0.1").await;
    silent.send("PR").await;
    for _ in 0..4 {
        assert_eq!(get(stage.at(), "/").await.status(), 200);
    }
    is_closed(silent).await;
    drop(http2);
}

#[tokio::test]
async fn requests_that_are_answered_do_not_give_way() {
    let stage = Stage::start(|config| config.connections = 2).await;
    let _busy = stage.busy("127.0.0.1", 2).await;
    for _ in 0..3 {
        let answer = get(stage.at(), "/").await;
        assert_eq!((answer.status(), answer.error()), (503, Some("overloaded")));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_address_that_has_all_it_may_loses_its_own_idle_connection() {
    let stage = Stage::start(|config| config.per_address = 2).await;
    let mut other = stage.idle("127.0.0.3").await;
    let first = stage.idle("127.0.0.2").await;
    let _busy = stage.busy("127.0.0.2", 1).await;
    let mut second = stage.idle("127.0.0.2").await;
    is_closed(first).await;
    stage.is_served(&mut second).await;
    stage.is_served(&mut other).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_address_that_has_most_connections_gives_way() {
    let stage = Stage::start(|config| config.connections = 6).await;
    let mut good = stage.idle("127.0.0.2").await;
    let mut greedy = Vec::new();
    for _ in 0..5 {
        greedy.push(stage.idle("127.0.0.3").await);
    }
    let mut newcomer = stage.idle("127.0.0.4").await;
    is_closed(greedy.remove(0)).await;
    stage.is_served(&mut good).await;
    stage.is_served(&mut newcomer).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn stalled_requests_of_an_address_with_many_give_way() {
    let stage = Stage::start(|config| config.connections = 8).await;
    let _busy = stage.busy("127.0.0.2", 8).await;
    eventually("another address is served", async || {
        let mut visitor = stage.visitor("127.0.0.3").await;
        visitor.send(stage.request("/")).await;
        visitor.head().await.contains(" 200 ").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_registers_while_visitors_have_all_places() {
    let stage = Stage::start(|config| {
        config.connections = 2;
        config.access = Access::token("s3cret");
        config.wrong_tokens = 1000;
    })
    .await;
    let _busy = stage.busy("127.0.0.1", 2).await;
    for token in ["wrong", "s3cret", "wrong", "s3cret"] {
        let mirror = handshake(stage.at(), "/_ggrok/mirror?name=m", token);
        let valid = token == "s3cret";
        if valid {
            let (socket, _) = timeout(AT_ONCE, dial(mirror))
                .await
                .expect("a client waits");
            drop(socket);
        } else {
            let refused = timeout(AT_ONCE, refused(mirror)).await;
            assert_eq!(refused.expect("a refusal waits").0, 401);
        }
        assert_eq!(get(stage.at(), "/").await.status(), 503);
    }
}

#[tokio::test]
async fn a_wrong_token_keeps_no_place() {
    let stage = Stage::start(|config| {
        config.connections = 2;
        config.access = Access::token("s3cret");
    })
    .await;
    let _busy = stage.busy("127.0.0.1", 2).await;
    let mut wire = stage.visitor("127.0.0.1").await;
    let at = stage.at();
    wire.send(format!(
        "GET /$$ggrok HTTP/1.1\r\nHost: {at}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Authorization: Bearer wrong\r\n\r\n"
    ))
    .await;
    let head = wire.head().await;
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert!(head.contains("connection: close"), "{head}");
}

#[tokio::test]
async fn connections_that_show_nothing_do_not_keep_clients_out() {
    let stage = Stage::start(|config| {
        config.connections = 2;
        config.access = Access::token("s3cret");
    })
    .await;
    let _busy = stage.busy("127.0.0.1", 2).await;
    let mut begun = Vec::new();
    for _ in 0..200 {
        let mut wire = stage.visitor("127.0.0.1").await;
        // They may have been closed for one another by then.
        wire.try_send("GET /$$ggrok HTTP/1.1\r\n").await.ok();
        begun.push(wire);
    }
    let mirror = handshake(stage.at(), "/_ggrok/mirror?name=m", "s3cret");
    timeout(AT_ONCE, dial(mirror))
        .await
        .expect("a client waits");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn large_heads_that_do_not_end_give_way_and_a_large_head_of_another_address_is_served() {
    const KIB: usize = 1 << 10;
    // A quarter is for heads, which take the next power of two each.
    let stage = Stage::start(|config| config.memory = 4096 * KIB).await;
    let head = |size: usize| {
        let field = "y".repeat(size);
        format!("GET / HTTP/1.1\r\nHost: {}\r\nX: {field}", stage.at())
    };
    let mut greedy = Vec::new();
    for _ in 0..40 {
        let mut visitor = stage.visitor("127.0.0.2").await;
        // The relay may close it before it has taken all.
        visitor.try_send(head(40 * KIB)).await.ok();
        greedy.push(visitor.into_stream());
    }
    let mut visitor = stage.visitor("127.0.0.3").await;
    visitor.send(head(40 * KIB)).await;
    visitor.send("\r\n\r\n").await;
    visitor.until(b"\r\n\r\nhi").await;
    eventually("no more than fit are left", async || {
        let mut left = 0;
        for stream in &greedy {
            let silent = stream.try_read(&mut [0; 8]);
            left += usize::from(silent.is_err_and(|error| error.kind() == WouldBlock));
        }
        (left <= 16).then_some(())
    })
    .await;
}

/// What is not kept waiting takes less.
const AT_ONCE: Duration = Duration::from_secs(1);
