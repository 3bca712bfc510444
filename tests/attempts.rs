//! Whoever guesses tokens is stopped, and nobody else.

use std::net::{IpAddr, SocketAddr};

use ggrok_server::Access;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::support::{Answer, Relay, Wires};

/// What somebody gets who asks from an address of loopback.
async fn from(address: &str, relay: SocketAddr, request: &str) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    let address: IpAddr = address.parse().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let mut stream = socket.connect(relay).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        head: format!("{head}\r\n\r\n"),
        body: body.into(),
    }
}

/// The status that somebody gets who asks from an address of loopback, where the connection may go on.
#[cfg(target_os = "linux")]
async fn begun(address: &str, relay: SocketAddr, request: &str) -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    let address: IpAddr = address.parse().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let mut stream = socket.connect(relay).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    stream.read_exact(&mut line).await.unwrap();
    str::from_utf8(&line[9..]).unwrap().parse().unwrap()
}

fn registration(relay: SocketAddr, token: &str, fields: &str) -> String {
    format!(
        "GET /$$ggrok HTTP/1.1\r\nHost: {relay}\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n{fields}\r\n"
    )
}

fn listing(relay: SocketAddr, token: &str, fields: &str) -> String {
    format!(
        "GET /_ggrok/mirrors HTTP/1.1\r\nHost: {relay}\r\nConnection: close\r\nX-Ggrok-Token: {token}\r\n{fields}\r\n"
    )
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn stops_an_address_that_guesses_tokens_and_no_other() {
    let relay = Relay::with(|config| config.access = Access::token("s3cret")).await;
    let at = relay.address;
    for guess in 0..10 {
        let guess = guess.to_string();
        // In both places alike.
        let request = match guess.as_str() {
            "0" | "5" => listing(at, &guess, ""),
            _ => registration(at, &guess, ""),
        };
        let answer = from("127.0.0.2", at, &request).await;
        assert_eq!(
            (answer.status(), answer.error()),
            (401, Some("wrong-token"))
        );
    }
    for token in ["guess", "s3cret"] {
        for request in [registration(at, token, ""), listing(at, token, "")] {
            let answer = from("127.0.0.2", at, &request).await;
            let seen = (answer.status(), answer.error());
            assert_eq!(seen, (429, Some("too-many-attempts")));
            let wait: u32 = answer.field("retry-after")[0].parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
        }
    }
    let other = from("127.0.0.3", at, &listing(at, "s3cret", "")).await;
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn knows_a_guesser_behind_a_router_by_what_the_router_saw() {
    let relay = Relay::with(|config| {
        config.access = Access::token("s3cret");
        config.trusted_hops = 1;
        config.wrong_tokens = 3;
    })
    .await;
    let at = relay.address;
    for claimed in 0..3 {
        // What a visitor claims to be stands before what the router saw.
        let seen = format!("X-Forwarded-For: 198.51.100.{claimed}, 192.0.2.7\r\n");
        let answer = from("127.0.0.1", at, &listing(at, "guess", &seen)).await;
        assert_eq!(answer.status(), 401);
    }
    for (seen, status) in [("198.51.100.9, 192.0.2.7", 429), ("192.0.2.8", 200)] {
        let seen = format!("X-Forwarded-For: {seen}\r\n");
        let answer = from("127.0.0.1", at, &listing(at, "s3cret", &seen)).await;
        assert_eq!(answer.status(), status, "{seen}");
    }
}

#[tokio::test]
async fn takes_all_whom_nobody_knows_for_one() {
    let relay = Relay::with(|config| {
        config.access = Access::token("s3cret");
        config.trusted_hops = 1;
        config.wrong_tokens = 3;
    })
    .await;
    let at = relay.address;
    // A router that hides its visitors.
    let hidden = "X-Forwarded-For: unknown\r\n";
    for _ in 0..3 {
        let answer = from("127.0.0.1", at, &listing(at, "guess", hidden)).await;
        assert_eq!(answer.status(), 401);
    }
    for (seen, status) in [(hidden, 429), ("X-Forwarded-For: 192.0.2.8\r\n", 200)] {
        let answer = from("127.0.0.1", at, &listing(at, "s3cret", seen)).await;
        assert_eq!(answer.status(), status, "{seen}");
    }
}

#[tokio::test]
async fn bounds_the_calls_of_all_whom_nobody_knows_as_those_of_one() {
    let relay = Relay::with(|config| {
        config.trusted_hops = 1;
        config.per_address = 1;
    })
    .await;
    let wires = Wires::before(relay).await;
    let hidden = "GET / HTTP/1.1\r\nHOST\r\nX-Forwarded-For: unknown\r\n\r\n";
    let (_waiting, _local, _) = wires.call(hidden).await;
    let mut second = wires.visitor(hidden).await;
    let answer = second.head().await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
}

#[tokio::test]
async fn counts_no_request_that_gives_no_token() {
    let relay = Relay::with(|config| config.access = Access::token("s3cret")).await;
    let at = relay.address;
    let bare = format!("GET /_ggrok/mirrors HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    for _ in 0..20 {
        let answer = from("127.0.0.1", at, &bare).await;
        assert_eq!((answer.status(), answer.error()), (401, Some("no-token")));
    }
    let answer = from("127.0.0.1", at, &listing(at, "s3cret", "")).await;
    assert_eq!(answer.status(), 200);
}

/// A token of medium strength, one that is as strong as `token new` makes it, and guesses at both.
const TOKENS: [(&str, &str); 2] = [
    ("tok-of-the-operator-1", "tok-of-the-operator-2"),
    (
        "ggrok_w5Yk1s0cGZ4q8XbTn7uVhRzLpMaEoJd2iKfQxU3yB6A",
        "ggrok_w5Yk1s0cGZ4q8XbTn7uVhRzLpMaEoJd2iKfQxU3yB6B",
    ),
];

#[cfg(target_os = "linux")]
#[tokio::test]
async fn lets_a_right_token_in_from_an_address_that_gave_wrong_ones() {
    for (token, guess) in TOKENS {
        let relay = Relay::with(|config| {
            config.access = Access::token(token);
            config.metrics_access = Some(Access::token("the token of the metrics"));
        })
        .await;
        let at = relay.address;
        for number in 0..12 {
            let status = if number < 10 { 401 } else { 429 };
            let request = match number % 2 {
                0 => registration(at, guess, ""),
                _ => listing(at, guess, ""),
            };
            let answer = from("127.0.0.2", at, &request).await;
            assert_eq!(answer.status(), status, "{number}");
        }
        let metrics = |token| {
            let page = listing(at, token, "");
            page.replace("/_ggrok/mirrors", "/_ggrok/metrics")
        };
        for (request, status) in [
            (listing(at, token, ""), 200),
            (metrics("the token of the metrics"), 200),
            (listing(at, guess, ""), 429),
            (metrics(guess), 429),
            (listing(at, "s3cret", ""), 429),
            (registration(at, token, ""), 101),
        ] {
            let answer = begun("127.0.0.2", at, &request).await;
            assert_eq!(answer, status, "{request}");
        }
    }
}
