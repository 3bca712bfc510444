//! Cases 31 to 41.

use super::play::{GET, OK, answer, answer_to, arrives, refused, rest};
use super::{Case, case};
use crate::support::{Origin, Stage, Wire, fields, hosted};

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(31, "9110, 7.6.1", "fields of one hop end there, and those that Connection names, both ways", hop_by_hop),
        case(32, "9110, 7.6.1", "several Connection lines count as one, an empty one too", several_connections),
        case(33, "9110, 7.6.1", "Connection takes away neither Host, nor a length, nor our own fields", named_by_connection),
        case(34, "9110, 7.6.1", "a Connection that is no text harms nobody", odd_connection),
        case(35, "9112, 9.3.2", "pipelined requests are answered in order, and none is lost", pipelined),
        case(36, "9112, 6.1, 9.3", "a visitor of HTTP/1.0 gets no chunks, and the end of the connection", old_visitor),
        case(37, "9112, 9.3", "it may keep the connection where the length is known", old_keep_alive),
        case(38, "9112, 6.1", "HTTP/1.0 with Transfer-Encoding is refused: 400", old_chunks),
        case(39, "9112, 3.2", "HTTP/1.0 without Host is refused: 400", old_without_host)
            .remark("the host is what calls are routed by"),
        case(40, "9110, 2.5", "the app sees HTTP/1.1, whatever the visitor speaks", version),
        case(41, "9112, 9.6", "a relay that stops says so in its last answers", draining),
    ]
}

const HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "proxy-authorization",
    "http2-settings",
];

async fn hop_by_hop(stage: Stage) {
    let lines = "Connection: close, x-a\r\nX-A: 1\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\nUpgrade: x\r\nProxy-Authorization: Basic eDp5\r\nProxy-Authenticate: Basic\r\nHTTP2-Settings: AAMAAABk\r\nX-B: 2\r\n";
    let head = arrives(&stage, format!("GET / HTTP/1.1\r\nHOST\r\n{lines}\r\n")).await;
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
    let answer = answer(&stage, bytes).await;
    for head in [&head, &answer.head] {
        for name in HOP {
            // The visitor's connection ends, as it asked.
            let ours: &[&str] = if name == "connection" && head.starts_with("HTTP") {
                &["close"]
            } else {
                &[]
            };
            assert_eq!(fields(head, name), ours, "{name} in {head}");
        }
        assert!(fields(head, "x-a").is_empty() && fields(head, "proxy-authenticate").is_empty());
        assert_eq!(fields(head, "x-b"), ["2"]);
    }
}

async fn several_connections(stage: Stage) {
    let lines =
        "Connection:\r\nConnection: X-A\r\nX-A: 1\r\nX-C: 3\r\nConnection: ,x-b,\r\nX-B: 2\r\n";
    let head = arrives(&stage, format!("GET / HTTP/1.1\r\nHOST\r\n{lines}\r\n")).await;
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
    let answer = answer(&stage, bytes).await;
    for head in [&head, &answer.head] {
        let values = ["x-a", "x-b"].map(|name| fields(head, name).len());
        assert_eq!((values, fields(head, "x-c")), ([0, 0], vec!["3"]), "{head}");
    }
}

async fn named_by_connection(stage: Stage) {
    let said = "POST / HTTP/1.1\r\nHOST\r\nConnection: close, host, content-length, x-forwarded-for, x-forwarded-proto\r\nContent-Length: 2\r\n\r\nhi";
    let (_visitor, mut local, head) = stage.call(said).await;
    assert_eq!(local.exactly(2).await, b"hi");
    let values = [
        "host",
        "content-length",
        "x-forwarded-for",
        "x-forwarded-proto",
    ]
    .map(|name| fields(&head, name));
    assert_eq!(
        values,
        [["app.example"], ["2"], ["127.0.0.1"], ["http"]],
        "{head}"
    );
    local.send(OK).await;
    drop(local);
    let answer = answer(
        &stage,
        "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await;
    assert_eq!(
        (answer.field("content-length"), answer.text()),
        (vec!["2"], "hi")
    );
}

async fn odd_connection(stage: Stage) {
    let said = b"GET / HTTP/1.1\r\nHOST\r\nConnection: \xff, \xe9x, x-a\r\nX-A: 1\r\n\r\n";
    let head = arrives(&stage, said).await;
    assert!(fields(&head, "connection").is_empty(), "{head}");
    let ok = b"HTTP/1.1 200 OK\r\nConnection: \xff, x-a\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answer(&stage, ok).await.status(), 200);
}

async fn pipelined(stage: Stage) {
    let Stage {
        listener,
        relay,
        client,
        ..
    } = stage;
    let origin = Origin::serve(listener, |seen| {
        let target = seen.target();
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}",
            target.len()
        )
        .into_bytes()
    });
    let mut visitor = Wire::connect(relay.address).await;
    let said = (10..40).map(|number| format!("GET /{number} HTTP/1.1\r\nHOST\r\n\r\n"));
    visitor.send(hosted(said.collect::<String>())).await;
    for number in 10..40 {
        visitor.head().await;
        assert_eq!(visitor.exactly(3).await, format!("/{number}").into_bytes());
    }
    assert_eq!(origin.seen().len(), 30);
    drop(client);
}

async fn old_visitor(stage: Stage) {
    let bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let answer = answer_to(&stage, "GET / HTTP/1.0\r\nHOST\r\n\r\n", bytes).await;
    assert!(
        answer.field("transfer-encoding").is_empty(),
        "{}",
        answer.head
    );
    assert_eq!(answer.text(), "hi");
}

async fn old_keep_alive(stage: Stage) {
    let get = "GET / HTTP/1.0\r\nHOST\r\nConnection: keep-alive\r\n\r\n";
    let (mut visitor, mut local, head) = stage.call(get).await;
    assert!(fields(&head, "connection").is_empty(), "{head}");
    local.send(OK).await;
    drop(local);
    let head = visitor.head().await;
    assert_eq!(fields(&head, "connection"), ["keep-alive"]);
    assert_eq!(visitor.exactly(2).await, b"hi");
    visitor
        .send(hosted("GET /2 HTTP/1.0\r\nHOST\r\n\r\n"))
        .await;
    let mut local = stage.local().await;
    local.head().await;
    local.send(OK).await;
    assert_eq!(rest(visitor).await.text(), "hi");
}

async fn old_chunks(stage: Stage) {
    let said = ["", "Connection: keep-alive\r\n", "Content-Length: 5\r\n"].map(|fields| {
        format!("POST / HTTP/1.0\r\nHOST\r\n{fields}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    });
    refused(&stage, 400, said).await;
}

async fn old_without_host(stage: Stage) {
    refused(
        &stage,
        400,
        [
            "GET / HTTP/1.0\r\n\r\n",
            "GET http://app.example/ HTTP/1.0\r\n\r\n",
        ],
    )
    .await;
}

async fn version(stage: Stage) {
    for version in ["1.0", "1.1"] {
        let head = arrives(&stage, format!("GET / HTTP/{version}\r\nHOST\r\n\r\n")).await;
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    }
    for version in ["1.0", "1.1"] {
        let answer = answer(
            &stage,
            format!("HTTP/{version} 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        )
        .await;
        assert!(answer.head.starts_with("HTTP/1.1 200 "), "{}", answer.head);
    }
}

async fn draining(mut stage: Stage) {
    let (visitor, mut local, _) = stage.call(GET).await;
    stage.relay.stop();
    local.send(OK).await;
    let answer = rest(visitor).await;
    assert_eq!((answer.status(), answer.text()), (200, "hi"));
    assert_eq!(answer.field("connection"), ["close"]);
}
