//! What the app is told of its visitor.

use crate::support::{Client, Origin, Relay, Seen, raw};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()
}

async fn told(trusted_hops: usize, fields: &str) -> [String; 4] {
    let relay = Relay::with(|config| config.trusted_hops = trusted_hops).await;
    let origin = Origin::start(ok).await;
    let _client = Client::start(&relay, &origin).await;
    let host = relay.address;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close, x-forwarded-for\r\n\r\n"
    );
    raw(host, request).await;
    let seen = origin.last();
    ["for", "proto", "host", "port"]
        .map(|name| seen.field(&format!("x-forwarded-{name}")).join("|"))
}

const CLAIMS: &str = "X-Forwarded-For: 127.0.0.1, 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 443\r\n";

#[tokio::test]
async fn says_who_the_visitor_is_whatever_the_visitor_says() {
    let [from, proto, host, port] = told(0, CLAIMS).await;
    assert_eq!((&*from, &*proto), ("127.0.0.1", "http"));
    assert!(host.starts_with("127.0.0.1:") && host.ends_with(&port));
}

#[tokio::test]
async fn believes_the_routers_that_it_is_told_of() {
    let [from, proto, host, port] = told(1, CLAIMS).await;
    assert_eq!((&*from, &*proto, &*port), ("203.0.113.9", "https", "443"));
    assert!(host.starts_with("127.0.0.1:"));
}
