//! Cases 42 to 48.

use super::play::{OK, answer, arrives, nothing_arrived, refused, rest};
use super::{Case, case};
use crate::support::{Stage, Wire, fields};

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(42, "9112, 6.1, 6.3", "with Content-Length and Transfer-Encoding the chunks count, and the connection ends", both),
        case(43, "9112, 6.1", "a Transfer-Encoding that does not end in chunked is refused: 400; one with more than that: 501", codings),
        case(44, "9110, 8.6", "a length that is none, or two different ones, are refused: 400; two equal ones are one", lengths),
        case(45, "9112, 7.1", "extensions of chunks are ignored, within 16 KiB; broken chunks end the connection", chunks),
        case(46, "9112, 7.1, 8", "a body that breaks is broken for the app as well", broken_body),
        case(47, "9110, 8.6", "a known length stays one, an unknown one goes on in chunks, and a length of 0 stays", kept_lengths)
            .not_in_unary("whole bodies alone are carried, so their length is known"),
        case(48, "9110, 8.6, 9.3.1", "no body is added where there is none; any method may have one", any_method),
    ]
}

async fn both(stage: Stage) {
    let framings = [
        "Content-Length: 30\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
    ];
    for framing in framings {
        let post = format!("POST / HTTP/1.1\r\nHOST\r\n{framing}\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        let (visitor, mut local, head) = stage
            .call(post + "GET /behind HTTP/1.1\r\nHOST\r\n\r\n")
            .await;
        assert_eq!(body(&stage, &mut local, &head).await, b"hi");
        local.send(OK).await;
        drop(local);
        assert_eq!(rest(visitor).await.text(), "hi");
        nothing_arrived(&stage).await;
    }
}

/// The body of a request that came in chunks.
async fn body(stage: &Stage, local: &mut Wire, head: &str) -> Vec<u8> {
    if stage.is_unary() {
        assert!(fields(head, "transfer-encoding").is_empty(), "{head}");
        let length = fields(head, "content-length")[0].parse().unwrap();
        return local.exactly(length).await;
    }
    assert!(fields(head, "content-length").is_empty(), "{head}");
    assert_eq!(fields(head, "transfer-encoding"), ["chunked"]);
    let mut body = Vec::new();
    loop {
        match &local.chunk().await[..] {
            [] => break,
            chunk => body.extend_from_slice(chunk),
        }
    }
    local.until(b"\r\n").await;
    body
}

async fn codings(stage: Stage) {
    let post =
        |coding| format!("POST / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n");
    let none = [
        "gzip",
        "identity",
        "chunked, gzip",
        "chunked;q=1",
        "xchunked",
        "",
    ];
    refused(&stage, 400, none.map(post)).await;
    let others = [
        "gzip, chunked",
        "identity, chunked",
        "chunked, chunked",
        "gzip\r\nTransfer-Encoding: chunked",
    ];
    refused(&stage, 501, others.map(post)).await;
}

async fn lengths(stage: Stage) {
    let post = |length| format!("POST / HTTP/1.1\r\nHOST\r\nContent-Length: {length}\r\n\r\nabc");
    let none = [
        "+3",
        "-1",
        "0x3",
        "3, 3",
        "3 3",
        "",
        "18446744073709551616",
        "3\r\nContent-Length: 4",
    ];
    refused(&stage, 400, none.map(post)).await;
    // The largest numbers that a length of 64 bits can be. hyper has other uses for them.
    let largest = ["18446744073709551614", "18446744073709551615"];
    let behind = "GET /behind HTTP/1.1\r\nHOST\r\n\r\n";
    refused(&stage, 431, largest.map(|length| post(length) + behind)).await;
    for length in ["3\r\nContent-Length: 3", "003"] {
        let (mut visitor, mut local, head) = stage.call(post(length)).await;
        assert_eq!(fields(&head, "content-length").len(), 1, "{head}");
        assert_eq!(
            fields(&head, "content-length")[0].trim_start_matches('0'),
            "3"
        );
        assert_eq!(local.exactly(3).await, b"abc");
        local.send(OK).await;
        visitor.head().await;
    }
}

const POST: &str = "POST / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn chunks(stage: Stage) {
    for chunks in [
        "2;a=b\r\nhi\r\n0;c\r\n\r\n",
        "2;a=\"b;c\"\r\nhi\r\n0\r\n\r\n",
        "02 \r\nhi\r\n000\r\n\r\n",
    ] {
        let (mut visitor, mut local, head) = stage.call(format!("{POST}{chunks}")).await;
        assert_eq!(body(&stage, &mut local, &head).await, b"hi");
        local.send(OK).await;
        visitor.head().await;
    }
    let long = format!("2;{}\r\nhi\r\n0\r\n\r\n", "e".repeat(20_000));
    for chunks in [
        "0x2\r\nhi\r\n0\r\n\r\n",
        "\r\nhi\r\n0\r\n\r\n",
        "2;a\nb\r\nhi\r\n0\r\n\r\n",
        "2\r\nhi0\r\n\r\n",
        "fffffffffffffffff\r\nhi\r\n0\r\n\r\n",
        "-2\r\nhi\r\n0\r\n\r\n",
        &long,
    ] {
        let visitor = stage
            .visitor(format!(
                "{POST}{chunks}GET /behind HTTP/1.1\r\nHOST\r\n\r\n"
            ))
            .await;
        let answer = visitor.rest().await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "),
            "{chunks}: {}",
            answer.escape_ascii()
        );
    }
}

async fn broken_body(stage: Stage) {
    if stage.is_unary() {
        // It never gets so far.
        let answer = stage
            .visitor(format!("{POST}2\r\nhi\r\nx\r\n"))
            .await
            .rest()
            .await;
        assert!(
            answer.starts_with(b"HTTP/1.1 400 "),
            "{}",
            answer.escape_ascii()
        );
        return nothing_arrived(&stage).await;
    }
    let (mut visitor, mut local, _) = stage.call(format!("{POST}2\r\nhi\r\n")).await;
    assert_eq!(local.chunks(2).await, b"hi");
    visitor.send("x\r\n").await;
    assert_eq!(local.rest().await, b"");
    let answer = visitor.rest().await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "),
        "{}",
        answer.escape_ascii()
    );
}

async fn kept_lengths(stage: Stage) {
    for (line, body) in [("POST", ""), ("PUT", ""), ("POST", "hi"), ("PATCH", "hi")] {
        let length = body.len().to_string();
        let said = format!("{line} / HTTP/1.1\r\nHOST\r\nContent-Length: {length}\r\n\r\n{body}");
        let (mut visitor, mut local, head) = stage.call(said).await;
        assert_eq!(fields(&head, "content-length"), [&length]);
        assert!(fields(&head, "transfer-encoding").is_empty());
        local.exactly(body.len()).await;
        local.send(OK).await;
        assert_eq!(fields(&visitor.head().await, "content-length"), ["2"]);
    }
    // Where the length is not known, it is in these dialects.
    let (mut visitor, mut local, head) = stage.call(format!("{POST}2\r\nhi\r\n0\r\n\r\n")).await;
    assert_eq!(body(&stage, &mut local, &head).await, b"hi");
    local.send(OK).await;
    visitor.head().await;
    drop(local);
    let answer = answer(
        &stage,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    )
    .await;
    let framed = [
        answer.field("transfer-encoding").len(),
        answer.field("content-length").len(),
    ];
    assert_eq!(framed, if stage.is_unary() { [0, 1] } else { [1, 0] });
    assert_eq!(answer.whole().unwrap(), b"hi");
}

async fn any_method(stage: Stage) {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST", "REPORT"] {
        let head = arrives(&stage, format!("{method} / HTTP/1.1\r\nHOST\r\n\r\n")).await;
        let framed =
            fields(&head, "content-length").len() + fields(&head, "transfer-encoding").len();
        assert_eq!(framed, 0, "{head}");
        let sized = format!("{method} / HTTP/1.1\r\nHOST\r\nContent-Length: 2\r\n\r\nhi");
        let (mut visitor, mut local, head) = stage.call(sized).await;
        assert_eq!(fields(&head, "content-length"), ["2"]);
        assert_eq!(local.exactly(2).await, b"hi");
        local
            .send(OK.replace("hi", if method == "HEAD" { "" } else { "hi" }))
            .await;
        visitor.head().await;
        drop(local);
        let chunked = format!(
            "{method} / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        );
        let (_visitor, mut local, head) = stage.call(chunked).await;
        assert_eq!(body(&stage, &mut local, &head).await, b"hi");
        local
            .send(OK.replace("hi", if method == "HEAD" { "" } else { "hi" }))
            .await;
    }
}
