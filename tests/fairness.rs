//! One address, or many that stall, keep nobody else out of a tunnel or of the relay.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ggrok_protocol::Dialect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{
    Client, END_STREAM, Frame, Origin, PREFACE, Relay, SETTINGS, Seen, config, eventually,
};

/// Answers by its target: at once, never, with more than a visitor takes who does not read, or with an
/// upgrade.
fn app(seen: &Seen) -> Vec<u8> {
    match seen.target() {
        "/never" => Vec::new(),
        "/large" => {
            let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n".to_vec();
            answer.resize(answer.len() + 4_000_000, b'x');
            answer
        }
        "/piece" => {
            let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 15000\r\n\r\n".to_vec();
            answer.resize(answer.len() + 15_000, b'x');
            answer
        }
        "/upgrade" => {
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n\r\n"
                .to_vec()
        }
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec(),
    }
}

/// Connects from an address of loopback, with little room for what comes back, and says this.
async fn from(address: &str, relay: SocketAddr, said: impl AsRef<[u8]>) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address: IpAddr = address.parse().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let mut stream = socket.connect(relay).await.unwrap();
    stream.write_all(said.as_ref()).await.unwrap();
    stream
}

fn request(relay: SocketAddr, target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {relay}\r\n{fields}\r\n")
}

/// The status line that a fresh visitor gets.
async fn visit(address: &str, relay: SocketAddr) -> String {
    let asking = request(relay, "/", "Connection: close\r\n");
    let mut stream = from(address, relay, asking).await;
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(3), stream.read_to_end(&mut answer)).await;
    if read.is_err() {
        return "no answer within 3 s".to_owned();
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

const SERVED: &str = "HTTP/1.1 200 OK";

const GREEDY: &str = "127.0.0.1";
const GOOD: &str = "127.0.0.9";

/// A relay and a client whose tunnel takes so many calls.
async fn setup(calls: usize, dialect: Dialect) -> (Relay, Origin, Client) {
    let relay = Relay::with(|config| {
        config.http2 = true;
        config.limits.calls = calls;
    })
    .await;
    let origin = Origin::start(app).await;
    let mut settings = config(&relay, &origin);
    settings.dialect = Some(dialect);
    let client = Client::ready(settings).await;
    (relay, origin, client)
}

/// What an address may do to hold calls.
fn stalls(relay: SocketAddr) -> Vec<(&'static str, String)> {
    let upload =
        format!("POST / HTTP/1.1\r\nHost: {relay}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    vec![
        ("slow readers", request(relay, "/large", "")),
        ("stalled uploads", upload),
        ("a slow app", request(relay, "/never", "")),
        (
            "silent upgrades",
            request(
                relay,
                "/upgrade",
                "Connection: Upgrade\r\nUpgrade: weird/7\r\n",
            ),
        ),
    ]
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_address_does_not_shut_a_tunnel() {
    for kind in 0..4 {
        let (relay, _origin, _client) = setup(8, Dialect::V2).await;
        let at = relay.address;
        let (name, said) = stalls(at).swap_remove(kind);
        let mut held = Vec::new();
        for _ in 0..12 {
            held.push(from(GREEDY, at, &said).await);
        }
        for _ in 0..3 {
            assert_eq!(visit(GOOD, at).await, SERVED, "beside {name}");
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_address_does_not_shut_a_tunnel_without_streams() {
    for kind in 0..2 {
        let (relay, _origin, _client) = setup(8, Dialect::Ggrok).await;
        let at = relay.address;
        let (name, said) = stalls(at).swap_remove(kind);
        let mut held = Vec::new();
        for _ in 0..12 {
            held.push(from(GREEDY, at, &said).await);
        }
        eventually("a good visitor is served", async || {
            (visit(GOOD, at).await == SERVED).then_some(())
        })
        .await;
        assert_eq!(visit(GOOD, at).await, SERVED, "beside {name}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn many_addresses_that_stall_give_way_to_a_newcomer() {
    for kind in 0..4 {
        let (relay, _origin, _client) = setup(40, Dialect::V2).await;
        let at = relay.address;
        let (name, said) = stalls(at).swap_remove(kind);
        let mut held = Vec::new();
        for number in 0..48 {
            let address = format!("127.0.1.{}", 1 + number % 12);
            held.push(from(&address, at, &said).await);
        }
        // Not before they stall.
        eventually("a newcomer is served", async || {
            (visit("127.0.2.1", at).await == SERVED).then_some(())
        })
        .await;
        for last in 2..=5 {
            let good = format!("127.0.2.{last}");
            assert_eq!(visit(&good, at).await, SERVED, "beside {name}");
        }
    }
}

/// A connection in HTTP/2 whose streams have a window of so many bytes, and which asks so often.
async fn asks_by_http2(relay: SocketAddr, window: u32, target: &str, count: u32) -> TcpStream {
    let mut said = PREFACE.to_vec();
    let mut setting = vec![0, 4];
    setting.extend(window.to_be_bytes());
    said.extend(Frame::new(SETTINGS, 0, 0, setting).bytes());
    let authority = relay.to_string();
    let fields: [(&str, &[u8]); 4] = [
        (":method", b"GET"),
        (":scheme", b"http"),
        (":authority", authority.as_bytes()),
        (":path", target.as_bytes()),
    ];
    for number in 0..count {
        said.extend(Frame::headers(1 + 2 * number, END_STREAM, &fields).bytes());
    }
    from(GREEDY, relay, said).await
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn calls_that_are_refused_take_no_place() {
    let relay = Relay::with(|config| {
        config.http2 = true;
        config.calls = 30;
        config.per_address = 10;
    })
    .await;
    let at = relay.address;
    let origin = Origin::start(app).await;
    let _client = Client::start(&relay, &origin).await;
    let _held = [
        asks_by_http2(at, 0, "/", 40).await,
        asks_by_http2(at, 0, "/", 40).await,
    ];
    eventually("its calls are there", async || {
        (visit(GREEDY, at).await.starts_with("HTTP/1.1 429 ")).then_some(())
    })
    .await;
    assert_eq!(visit(GOOD, at).await, SERVED);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_call_lasts_until_its_last_piece_has_been_sent() {
    let relay = Relay::with(|config| {
        config.http2 = true;
        config.per_address = 10;
    })
    .await;
    let at = relay.address;
    let origin = Origin::start(app).await;
    let _client = Client::start(&relay, &origin).await;
    let held = asks_by_http2(at, 1, "/piece", 10).await;
    eventually("its calls are there", async || {
        (visit(GREEDY, at).await.starts_with("HTTP/1.1 429 ")).then_some(())
    })
    .await;
    eventually("the app has answered them all", async || {
        (origin.seen().len() == 10).then_some(())
    })
    .await;
    for _ in 0..5 {
        let refused = visit(GREEDY, at).await;
        assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    }
    drop(held);
    eventually("it may call again", async || {
        (visit(GREEDY, at).await == SERVED).then_some(())
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_streams_of_an_address_are_bounded_over_its_connections() {
    let relay = Relay::with(|config| {
        config.http2 = true;
        config.per_address = 10;
    })
    .await;
    let at = relay.address;
    let origin = Origin::start(app).await;
    let _client = Client::start(&relay, &origin).await;
    let mut held = asks_by_http2(at, 0, "/", 60).await;
    // The 21st stream is reset: the frame says so, in four bytes of a code.
    let mut told = Vec::new();
    let reset = timeout(Duration::from_secs(5), async {
        while !told.windows(4).any(|four| four == [0, 0, 4, 3]) {
            held.read_buf(&mut told).await.unwrap();
        }
    });
    reset.await.expect("no stream is reset");
    assert_eq!(visit(GOOD, at).await, SERVED);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_of_the_address_that_has_most_goes_to_others() {
    let relay = Relay::with(|config| {
        config.http2 = true;
        config.memory = 4 << 20;
    })
    .await;
    let at = relay.address;
    let origin = Origin::start(app).await;
    let _client = Client::start(&relay, &origin).await;
    let mut held = Vec::new();
    for number in 0..100 {
        let address = format!("127.0.1.{}", 1 + number % 10);
        let target = ["/never", "/large"][number / 10 % 2];
        held.push(from(&address, at, request(at, target, "")).await);
    }
    // Not before they stall.
    eventually("a newcomer is served", async || {
        (visit("127.0.2.1", at).await == SERVED).then_some(())
    })
    .await;
    for last in 2..=5 {
        assert_eq!(visit(&format!("127.0.2.{last}"), at).await, SERVED);
    }
    assert_eq!(relay.tunnels().await, 1);
    drop(held);
    eventually("an address has all of it again", async || {
        (visit("127.0.1.1", at).await == SERVED).then_some(())
    })
    .await;
}
