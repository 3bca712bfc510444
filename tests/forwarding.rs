//! What the app is told of its visitor.

use crate::support::{Client, Origin, Relay, Seen, Wires, fields, in_every_dialect, raw};

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

/// Names in which apps look for the visitor's address, host or scheme.
const OTHERS: [&str; 24] = [
    "X-Client-IP",
    "Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Cluster-Client-IP",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "X-Originating-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "X-ProxyUser-Ip",
    "X-Forwarded",
    "Forwarded-For",
    "X-Forwarded-User",
    "X-Appengine-User-IP",
    "X-Azure-ClientIP",
    "X-Original-Forwarded-For",
    "X-Envoy-External-Address",
    "X-Host",
    "X-HTTP-Host-Override",
    "X-Original-Host",
    "X_Client_Ip",
    "REMOTE_ADDR",
    "HTTP_HOST",
];

#[tokio::test]
async fn passes_no_claim_of_a_visitor_and_what_platforms_say() {
    for hops in [0, 1] {
        let relay = Relay::with(|config| config.trusted_hops = hops).await;
        let origin = Origin::start(ok).await;
        let _client = Client::start(&relay, &origin).await;
        let claims: String = OTHERS
            .iter()
            .map(|name| format!("{name}: 6.6.6.6\r\n"))
            .collect();
        let ordinary = "X-Client-Version: 1\r\nX-GitHub-Enterprise-Host: a.example\r\n";
        let host = relay.address;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\n{claims}{ordinary}Connection: close\r\n\r\n"
        );
        raw(host, request).await;
        let seen = origin.last();
        for name in OTHERS {
            let passes = hops > 0 && !name.contains('_');
            assert_eq!(
                !seen.field(&name.to_ascii_lowercase()).is_empty(),
                passes,
                "{name}: {hops}"
            );
        }
        assert_eq!(seen.field("x-client-version"), ["1"]);
        assert_eq!(seen.field("x-github-enterprise-host"), ["a.example"]);
    }
}

/// What a visitor claims by all these names.
fn claims() -> String {
    let lines = OTHERS.iter().map(|name| format!("{name}: 6.6.6.6\r\n"));
    lines.collect()
}

#[tokio::test]
async fn passes_no_claim_in_any_dialect() {
    in_every_dialect(ok, async |setup| {
        let host = setup.relay.address;
        let claims = claims();
        let answer = setup
            .ask(format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\n{claims}X-Other: 1\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(answer.status(), 200);
        let seen = setup.origin.last();
        assert!(!seen.head.contains("6.6.6.6"), "{}", seen.head);
        assert_eq!(seen.field("x-other"), ["1"]);
    })
    .await;
}

#[tokio::test]
async fn passes_no_claim_in_upgrades() {
    let wires = Wires::start().await;
    let claims = claims();
    let request = format!(
        "GET / HTTP/1.1\r\nHOST\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n{claims}X-Other: 1\r\n\r\n"
    );
    let (_visitor, _local, head) = wires.call(request).await;
    assert_eq!(fields(&head, "upgrade"), ["weird/7"]);
    assert_eq!(fields(&head, "x-other"), ["1"]);
    assert!(!head.contains("6.6.6.6"), "{head}");
}

#[tokio::test]
async fn passes_no_claim_in_trailers() {
    let wires = Wires::start().await;
    let request = "POST / HTTP/1.1\r\nHOST\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut visitor, mut local, _) = wires.call(request).await;
    let claims = claims();
    visitor
        .send(format!("2\r\nhi\r\n0\r\n{claims}X-Sum: 1\r\n\r\n"))
        .await;
    let body = local.until(b"\r\n\r\n").await;
    let body = String::from_utf8_lossy(&body).to_ascii_lowercase();
    assert!(body.contains("x-sum: 1"), "{body}");
    assert!(!body.contains("6.6.6.6"), "{body}");
}
