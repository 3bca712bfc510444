//! Cases 84 to 93.

use std::time::Duration;

use super::play::{OK, arrives, error, nothing_arrived, rest};
use super::{Case, case};
use crate::support::{Stage, Wire, fields, hosted, noise};

const WHY: &str = "it carries no upgrades: 501";

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(84, "6455, 4", "all that a WebSocket's handshake says passes, both ways", handshake).not_in_unary(WHY),
        case(85, "9110, 7.8", "where the app refuses the upgrade, the visitor sees that, and stays with HTTP", refusal).not_in_unary(WHY),
        case(86, "6455, 4.4", "where the app speaks another version, the visitor sees that: 426", other_version).not_in_unary(WHY),
        case(87, "9110, 7.8", "bytes right behind the handshake are not lost, on either side", early_bytes).not_in_unary(WHY),
        case(88, "6455, 7", "a close passes with its code; a loss never looks like one", close).not_in_unary(WHY),
        case(89, "6455, 5.4", "frames pass as they are: fragments, masks, pings, reserved bits", frames).not_in_unary(WHY),
        case(90, "9110, 7.8", "in HTTP/1.0, or where Connection does not say so, Upgrade is nothing", plain),
        case(91, "6455, 5.5", "a quiet upgraded connection is not cut", quiet).not_in_unary(WHY),
        case(92, "6455, 5", "an upgraded connection that nobody reads holds up nobody else", stalled).not_in_unary(WHY),
        case(93, "8441, 4", "a WebSocket over HTTP/2 is not offered; HTTP/2 opens nothing unless it is switched on", http2),
    ]
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nOrigin: http://app.example\r\n";
const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";

fn ask() -> String {
    format!(
        "GET /socket HTTP/1.1\r\nHOST\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n{KEY}\r\n"
    )
}

fn grant() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{ACCEPT}\r\n"
    )
}

/// Whether upgrades are carried; they are refused where not.
async fn carried(stage: &Stage) -> bool {
    if stage.is_unary() {
        let asked = ask().replace("keep-alive, ", "close, ");
        assert_eq!(error(&stage.ask(asked).await), (501, "upgrade-not-carried"));
        nothing_arrived(stage).await;
    }
    !stage.is_unary()
}

/// An upgraded connection: the visitor's end and the app's.
async fn upgraded(stage: &Stage) -> (Wire, Wire) {
    let (mut visitor, mut local, _) = stage.call(ask()).await;
    local.send(grant()).await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 101 "));
    (visitor, local)
}

async fn handshake(stage: Stage) {
    if !carried(&stage).await {
        return;
    }
    let (mut visitor, mut local, asked) = stage.call(ask()).await;
    local.send(grant()).await;
    let granted = visitor.head().await;
    for (head, lines) in [(&asked, KEY), (&granted, ACCEPT)] {
        assert_eq!(fields(head, "upgrade"), ["websocket"]);
        assert_eq!(
            fields(head, "connection").join("").to_ascii_lowercase(),
            "upgrade"
        );
        for line in lines.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            assert_eq!(fields(head, name), [value], "{head}");
        }
    }
}

async fn refusal(stage: Stage) {
    if !carried(&stage).await {
        return;
    }
    let mut visitor = stage.visitor("").await;
    for status in [
        "200 OK",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
    ] {
        visitor.send(hosted(ask())).await;
        let mut local = stage.local().await;
        local.head().await;
        local.send(OK.replace("200 OK", status)).await;
        drop(local);
        let head = visitor.head().await;
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{head}"
        );
        assert_eq!(visitor.exactly(2).await, b"hi");
    }
    visitor
        .send(hosted(
            "GET /plain HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n",
        ))
        .await;
    let mut local = stage.local().await;
    assert!(local.head().await.starts_with("GET /plain "));
    local.send(OK).await;
    assert_eq!(rest(visitor).await.text(), "hi");
}

async fn other_version(stage: Stage) {
    if !carried(&stage).await {
        return;
    }
    let old = ask().replace("Version: 13", "Version: 8");
    let (mut visitor, mut local, head) = stage.call(old).await;
    assert_eq!(fields(&head, "sec-websocket-version"), ["8"]);
    local.send("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n").await;
    let head = visitor.head().await;
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    assert_eq!(fields(&head, "sec-websocket-version"), ["13"]);
}

async fn early_bytes(stage: Stage) {
    if !carried(&stage).await {
        return;
    }
    let (mut visitor, mut local, _) = stage.call(ask() + "early bird").await;
    local.send(grant() + "early worm").await;
    visitor.head().await;
    assert_eq!(visitor.exactly(10).await, b"early worm");
    assert_eq!(local.exactly(10).await, b"early bird");
}

async fn close(stage: Stage) {
    if !carried(&stage).await {
        return;
    }
    // 4321 and "bye", masked by nothing; and back.
    let (masked, plain) = (b"\x88\x85\0\0\0\0\x10\xe1bye", b"\x88\x05\x10\xe1bye");
    let (mut visitor, mut local) = upgraded(&stage).await;
    visitor.send(masked).await;
    assert_eq!(local.exactly(masked.len()).await, masked);
    local.send(plain).await;
    // The server is the first to close.
    drop(local);
    assert_eq!(visitor.rest().await, plain);
    let (visitor, local) = upgraded(&stage).await;
    drop(local);
    assert_eq!(visitor.rest().await, b"");
    let (visitor, local) = upgraded(&stage).await;
    drop(visitor);
    assert_eq!(local.rest().await, b"");
}

async fn frames(stage: Stage) {
    if !carried(&stage).await {
        return;
    }
    let (mut visitor, mut local) = upgraded(&stage).await;
    let frames: [&[u8]; 6] = [
        b"\x01\x82\x01\x02\x03\x04ij",
        b"\x00\x80\x01\x02\x03\x04",
        b"\x80\x81\x01\x02\x03\x04k",
        b"\x89\x80\0\0\0\0",
        b"\xc2\x81\0\0\0\0x",
        b"\x7f\xff\xff\xff",
    ];
    for frame in frames {
        visitor.send(frame).await;
        assert_eq!(local.exactly(frame.len()).await, frame);
        local.send(frame).await;
        assert_eq!(visitor.exactly(frame.len()).await, frame);
    }
}

async fn plain(stage: Stage) {
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    for said in [
        format!("GET / HTTP/1.0\r\nHOST\r\nConnection: upgrade\r\n{upgrade}\r\n"),
        format!("GET / HTTP/1.1\r\nHOST\r\n{upgrade}\r\n"),
        format!("GET / HTTP/1.1\r\nHOST\r\nConnection: keep-alive\r\n{upgrade}\r\n"),
        "GET / HTTP/1.1\r\nHOST\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n".to_owned(),
    ] {
        let head = arrives(&stage, said).await;
        for name in ["upgrade", "connection", "http2-settings"] {
            assert!(fields(&head, name).is_empty(), "{name} in {head}");
        }
    }
    // A body is the request's, and no new protocol's.
    let post = "POST / HTTP/1.1\r\nHOST\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhi";
    let (_visitor, mut local, head) = stage.call(post).await;
    assert!(fields(&head, "upgrade").is_empty(), "{head}");
    assert_eq!(local.exactly(2).await, b"hi");
    local.send(OK).await;
}

async fn quiet(stage: Stage) {
    if !carried(&stage).await {
        return;
    }
    let bound = Duration::from_millis(200);
    let stage = Stage::with(stage.dialect, |config| {
        config.limits.stream_idle = bound;
        config.limits.answer_timeout = bound;
    });
    let stage = stage.await;
    let (mut visitor, mut local) = upgraded(&stage).await;
    tokio::time::sleep(3 * bound).await;
    visitor.send("still").await;
    assert_eq!(local.exactly(5).await, b"still");
    local.send("there").await;
    assert_eq!(visitor.exactly(5).await, b"there");
}

async fn stalled(stage: Stage) {
    if !carried(&stage).await {
        return;
    }
    let (_visitor, mut flood) = upgraded(&stage).await;
    let piece = noise(1 << 20);
    let flooding = async { while flood.try_send(&piece).await.is_ok() {} };
    let asking = async {
        for _ in 0..20 {
            nothing_arrived(&stage).await;
        }
    };
    tokio::select! {
        () = flooding => panic!("the flood ended"),
        () = asking => {}
    }
}

async fn http2(stage: Stage) {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let answer = stage.visitor(preface).await.rest().await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "),
        "{}",
        answer.escape_ascii()
    );
    nothing_arrived(&stage).await;
}
