//! Cases 21 to 30.

use super::play::{answer, answer_to, arrives, error, refused};
use super::{Case, case};
use crate::support::{Stage, fields};

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(21, "9112, 5.1, 5.2", "a space before the colon, a folded line and an empty name are refused: 400", malformed)
            .remark("of a response the space is removed; the others are refused: 502"),
        case(22, "9110, 5.5", "CR, NUL and other controls in a value are refused: 400", controls),
        case(23, "9110, 5.5", "octets above 0x7f arrive as they are, both ways", high_octets)
            .not_in_unary("their envelopes are JSON: 501 where a value is not UTF-8, 502 for a response's"),
        case(24, "9112, 5.1", "an empty value stays; white space around a value is no part of it", empty_values),
        case(25, "9110, 5.3", "fields of one name keep their order, both ways", order),
        case(26, "9110, 5.3", "Set-Cookie lines are never joined", cookies),
        case(27, "9110, 5.1", "names have no case; they go on in lower case", names),
        case(28, "9110, 5.1", "unknown fields pass, both ways", unknown),
        case(29, "6585, 5", "more fields than are taken are refused: 431", many)
            .remark("256 of a request, 500 of a response"),
        case(30, "6585, 5", "a head that is too large is refused: 431", large)
            .remark("64 KiB"),
    ]
}

async fn malformed(stage: Stage) {
    let lines = [
        "X : y",
        "X\t: y",
        "X: y\r\n z",
        " X: y",
        ": y",
        "X",
        "X y",
        "X(: y",
    ];
    refused(
        &stage,
        400,
        lines.map(|line| format!("GET / HTTP/1.1\r\nHOST\r\n{line}\r\n\r\n")),
    )
    .await;
    for line in ["X: y\r\n z", ": y", " X: y"] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(error(&answer(&stage, bytes).await), (502, "local-broken"));
    }
    for line in ["X : y", "X\t: y", "X  :y"] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length : 2\r\n\r\nhi");
        let answer = answer(&stage, bytes).await;
        assert_eq!((answer.status(), answer.field("x")), (200, vec!["y"]));
        assert_eq!(
            (answer.field("content-length"), answer.text()),
            (vec!["2"], "hi")
        );
    }
    // Nor does it hide how long a body is.
    for lengths in [
        "Content-Length : 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nTransfer-Encoding : chunked",
        "Transfer-Encoding : gzip",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nhi");
        assert_eq!(error(&answer(&stage, bytes).await), (502, "local-broken"));
    }
}

async fn controls(stage: Stage) {
    let values = ["\0", "a\rb", "\u{1}", "\u{b}", "\u{7f}"];
    refused(
        &stage,
        400,
        values.map(|value| format!("GET / HTTP/1.1\r\nHOST\r\nX: {value}\r\n\r\n")),
    )
    .await;
    for value in values {
        let bytes = format!("HTTP/1.1 200 OK\r\nX: {value}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(error(&answer(&stage, bytes).await), (502, "local-broken"));
    }
}

async fn high_octets(stage: Stage) {
    let octets: Vec<u8> = (0x80..=0xff).collect();
    let latin: String = octets.iter().copied().map(char::from).collect();
    let get = [
        b"GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\nX: ",
        &octets[..],
        b"\r\n\r\n",
    ]
    .concat();
    let ok = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ",
        &octets[..],
        b"\r\n\r\n",
    ]
    .concat();
    if stage.is_unary() {
        assert_eq!(error(&stage.ask(get).await), (501, "field-not-text"));
        assert_eq!(
            error(&answer(&stage, ok).await),
            (502, "response-field-not-text")
        );
        // What is text passes.
        let head = arrives(&stage, "GET / HTTP/1.1\r\nHOST\r\nX: \u{e9}\r\n\r\n").await;
        assert_eq!(fields(&head, "x"), ["\u{c3}\u{a9}"]);
    } else {
        assert_eq!(fields(&arrives(&stage, get).await, "x"), [&latin]);
        assert_eq!(answer(&stage, ok).await.field("x"), [&latin]);
    }
}

async fn empty_values(stage: Stage) {
    let lines = "X-A:\r\nX-B: \t\r\nX-C: \t a \t\r\nX-D:b\r\nX-E: a \t b\r\n";
    let head = arrives(&stage, format!("GET / HTTP/1.1\r\nHOST\r\n{lines}\r\n")).await;
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
    let answer = answer(&stage, bytes).await;
    for head in [&head, &answer.head] {
        let values = ["x-a", "x-b", "x-c", "x-d", "x-e"].map(|name| fields(head, name));
        assert_eq!(values, [[""], [""], ["a"], ["b"], ["a \t b"]], "{head}");
    }
}

async fn order(stage: Stage) {
    let lines = "X-A: 2\r\nX-B: b\r\nX-A: 1\r\nX-A: 3, 0\r\nX-B: a\r\n";
    let head = arrives(&stage, format!("GET / HTTP/1.1\r\nHOST\r\n{lines}\r\n")).await;
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
    let answer = answer(&stage, bytes).await;
    for head in [&head, &answer.head] {
        assert_eq!(fields(head, "x-a"), ["2", "1", "3, 0"]);
        assert_eq!(fields(head, "x-b"), ["b", "a"]);
    }
}

async fn cookies(stage: Stage) {
    let lines = "Set-Cookie: a=1, 2\r\nX: y\r\nSet-Cookie: b=2; Path=/\r\nSet-Cookie: a=3\r\n";
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
    let answer = answer(&stage, bytes).await;
    assert_eq!(answer.field("set-cookie"), ["a=1, 2", "b=2; Path=/", "a=3"]);
}

async fn names(stage: Stage) {
    let head = arrives(
        &stage,
        "GET / HTTP/1.1\r\nhOsT: app.example\r\nX-ODD: a\r\nx-odd: b\r\n\r\n",
    )
    .await;
    let bytes = "HTTP/1.1 200 OK\r\ncOnTeNt-LeNgTh: 0\r\nX-ODD: a\r\nx-odd: b\r\n\r\n";
    let answer = answer(&stage, bytes).await;
    for head in [&head, &answer.head] {
        assert!(head.contains("\r\nx-odd: a\r\nx-odd: b\r\n"), "{head}");
    }
}

async fn unknown(stage: Stage) {
    let names = [
        "X-Unknown",
        "!#$%&'*+-.^_`|~",
        "0",
        "Grpc-Timeout",
        "Via-Not",
        "Sec-Something",
    ];
    let lines = names.map(|name| format!("{name}: 1\r\n")).concat();
    let head = arrives(&stage, format!("GET / HTTP/1.1\r\nHOST\r\n{lines}\r\n")).await;
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
    let answer = answer(&stage, bytes).await;
    for head in [&head, &answer.head] {
        for name in names {
            assert_eq!(fields(head, name), ["1"], "{name} in {head}");
        }
    }
}

async fn many(stage: Stage) {
    let get = |count| {
        format!(
            "GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n{}\r\n",
            "X: y\r\n".repeat(count)
        )
    };
    let head = arrives(&stage, get(250)).await;
    assert_eq!(fields(&head, "x").len(), 250);
    refused(&stage, 431, [get(300), get(600)]).await;
    let ok = |count| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n",
            "X: y\r\n".repeat(count)
        )
    };
    assert_eq!(answer(&stage, ok(450)).await.field("x").len(), 450);
    assert_eq!(error(&answer(&stage, ok(600)).await), (502, "local-broken"));
}

async fn large(stage: Stage) {
    let get = |length| {
        format!(
            "GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\nX: {}\r\n\r\n",
            "y".repeat(length)
        )
    };
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answer_to(&stage, &get(60_000), ok).await.status(), 200);
    refused(&stage, 431, [get(70_000), get(300_000)]).await;
}
