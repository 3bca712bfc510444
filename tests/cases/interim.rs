//! Cases 65 to 72.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::play::{GET, OK, answer, answer_to, arrives, error, refused, rest};
use super::{Case, case};
use crate::support::{PATIENCE, Stage, fields, hosted, noise, raw};

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(65, "9110, 10.1.1", "100 is said when the app can be sent the body, and not where the answer is there already", continued)
            .not_in_unary("whole bodies are collected before the app is asked: 100 is said at once. In v2 the client says it for the app, which may still refuse"),
        case(66, "9110, 10.1.1", "the app gets no Expect together with a body that does not wait", no_expect),
        case(67, "9110, 10.1.1", "another expectation is refused: 417", other_expectation),
        case(68, "9110, 10.1.1", "an expectation in HTTP/1.0 is ignored: no 100", old_expectation),
        case(69, "9110, 15.2", "1xx of the app do no harm to its final answer", early_hints)
            .remark("they are dropped: the HTTP library sends none"),
        case(70, "9110, 15.2", "a visitor of HTTP/1.0 gets no 1xx", old_visitor),
        case(71, "9112, 9.5, 9.6", "an answer that comes during the upload reaches the visitor whole, and ends the upload", early_answer)
            .not_in_unary("whole bodies are collected before the app is asked; the answer is whole all the same"),
        case(72, "9112, 9.5", "an app that answers without reading the body blocks nobody", unread_body),
    ]
}

const EXPECT: &str = "POST / HTTP/1.1\r\nHOST\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";

async fn continued(stage: Stage) {
    if stage.is_unary() {
        let mut visitor = stage.visitor(EXPECT).await;
        assert_eq!(visitor.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
        visitor.send("hi").await;
        let mut local = stage.local().await;
        local.head().await;
        assert_eq!(local.exactly(2).await, b"hi");
        local.send(OK).await;
        return assert_eq!(rest(visitor).await.text(), "hi");
    }
    let (mut visitor, mut local, _) = stage.call(EXPECT).await;
    assert_eq!(visitor.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    visitor.send("hi").await;
    assert_eq!(local.exactly(2).await, b"hi");
    local.send(OK).await;
    assert_eq!(rest(visitor).await.text(), "hi");
    drop(local);
    // Nothing listens: there is no 100.
    let Stage {
        relay,
        client,
        listener,
        ..
    } = stage;
    drop(listener);
    let answer = raw(relay.address, hosted(EXPECT)).await;
    assert_eq!(error(&answer), (502, "local-unreachable"));
    drop(client);
    let gone = "POST / HTTP/1.1\r\nHost: nobody.example\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n";
    let answer = raw(relay.address, gone).await;
    assert_eq!(error(&answer), (404, "unknown-host"));
}

async fn no_expect(stage: Stage) {
    let (mut visitor, mut local, head) = stage.call(format!("{EXPECT}hi")).await;
    assert!(fields(&head, "expect").is_empty(), "{head}");
    assert_eq!(local.exactly(2).await, b"hi");
    local.send(OK).await;
    while visitor.head().await.starts_with("HTTP/1.1 100 ") {}
}

async fn other_expectation(stage: Stage) {
    let others = ["miracles", "100-continue, miracles", ""];
    let said = others.map(|other| EXPECT.replace("100-continue", other));
    refused(&stage, 417, said).await;
}

async fn old_expectation(stage: Stage) {
    let said = format!("{}hi", EXPECT.replace("HTTP/1.1", "HTTP/1.0"));
    let (visitor, mut local, head) = stage.call(said).await;
    assert!(fields(&head, "expect").is_empty(), "{head}");
    assert_eq!(local.exactly(2).await, b"hi");
    local.send(OK).await;
    let answer = rest(visitor).await;
    assert_eq!((answer.status(), answer.text()), (200, "hi"));
}

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";

async fn early_hints(stage: Stage) {
    for early in [
        HINTS,
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 199 Odd\r\n\r\n",
    ] {
        let bytes = early.repeat(3) + OK;
        let (mut visitor, mut local, _) = stage.call(GET).await;
        local.send(bytes).await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(fields(&head, "link").is_empty(), "{head}");
        assert_eq!(visitor.exactly(2).await, b"hi");
    }
}

async fn old_visitor(stage: Stage) {
    let old = "GET / HTTP/1.0\r\nHOST\r\n\r\n";
    let bytes = format!("HTTP/1.1 100 Continue\r\n\r\n{HINTS}{OK}");
    let answer = answer_to(&stage, old, bytes).await;
    assert_eq!((answer.status(), answer.text()), (200, "hi"));
}

/// More than all buffers on the way hold.
const LARGE: usize = 20 << 20;

const REFUSAL: &str =
    "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge";

async fn early_answer(stage: Stage) {
    if stage.is_unary() {
        let post = "POST / HTTP/1.1\r\nHOST\r\nConnection: close\r\nContent-Length: 4\r\n\r\n";
        let mut visitor = stage.visitor(format!("{post}half")).await;
        visitor.send("").await;
        let mut local = stage.local().await;
        local.head().await;
        assert_eq!(local.exactly(4).await, b"half");
        local.send(REFUSAL).await;
        return assert_eq!(rest(visitor).await.text(), "large");
    }
    let post = format!("POST / HTTP/1.1\r\nHOST\r\nContent-Length: {ENDLESS}\r\n\r\n");
    let (mut visitor, mut local, _) = stage.call(&post).await;
    visitor.send(noise(1 << 20)).await;
    local.send(REFUSAL).await;
    let head = visitor.head().await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert_eq!(visitor.exactly(5).await, b"large");
    while visitor.try_send(noise(1 << 20)).await.is_ok() {}
    local.rest().await;

    // A long one, which the system could throw away where the connection is closed on the upload.
    let (visitor, mut local, _) = stage.call(&post).await;
    let (mut from, mut to) = visitor.into_stream().into_split();
    let uploading = tokio::spawn(async move {
        let piece = noise(64 << 10);
        while to.write_all(&piece).await.is_ok() {}
    });
    let long = noise(LARGE);
    let head = format!("HTTP/1.1 413 Content Too Large\r\nContent-Length: {LARGE}\r\n\r\n");
    local.send(head).await;
    let (_, answer) = tokio::join!(local.try_send(&long), async {
        let mut answer = Vec::new();
        timeout(PATIENCE, from.read_to_end(&mut answer))
            .await
            .unwrap()
            .ok();
        answer
    });
    assert!(answer.ends_with(&long), "{} bytes came", answer.len());
    uploading.abort();
}

/// More than anybody reads.
const ENDLESS: usize = 1 << 40;

async fn unread_body(stage: Stage) {
    let length = if stage.is_unary() { 5 << 20 } else { LARGE };
    let post =
        format!("POST / HTTP/1.1\r\nHOST\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    let mut visitor = stage.visitor(post).await;
    let body = vec![b'a'; length];
    let answering = async {
        let mut local = stage.local().await;
        local.head().await;
        local.send(OK).await;
        local
    };
    // The relay may end the upload.
    let (_, local) = tokio::join!(visitor.try_send(&body), answering);
    let head = visitor.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(visitor.exactly(2).await, b"hi");
    drop(local);
    arrives(&stage, GET).await;
    assert_eq!(answer(&stage, OK).await.text(), "hi");
}
