//! Cases 49 to 56.

use super::play::{CHUNKED, GET, OK, answer, answer_to, error, rest};
use super::{Case, case};
use crate::support::{Stage, fields, hosted};

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(49, "9110, 9.3.2", "an answer to HEAD has no body, and the length that the app says", head),
        case(50, "9110, 8.6, 15.3.5, 15.4.5", "204 and 304 have no body, and 204 has no length", bodiless)
            .remark("the HTTP library leaves out the length that a 304 may have"),
        case(51, "9110, 15.3.6", "205 has no content, whatever the app sends", reset_content),
        case(52, "9112, 6.3", "a body that ends with the app's connection arrives whole, with an end of its own", close_delimited),
        case(53, "9112, 8", "a body that breaks off never looks whole", broken_off)
            .remark("ggrok, magic-mirror: 502"),
        case(54, "9112, 8", "a body whose tunnel breaks never looks whole", tunnel_lost)
            .remark("ggrok, magic-mirror: 502"),
        case(55, "9112, 6.3", "a response of two lengths, of a length and chunks, or of no status is refused: 502", no_response),
        case(56, "9112, 9.2", "bytes behind a response reach nobody, and their connection is not used again", extra_bytes),
    ]
}

async fn head(stage: Stage) {
    let mut visitor = stage.visitor("").await;
    for framing in [
        "Content-Length: 12345\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "",
    ] {
        visitor
            .send(hosted("HEAD / HTTP/1.1\r\nHOST\r\n\r\n"))
            .await;
        let mut local = stage.local().await;
        local.head().await;
        local
            .send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n"))
            .await;
        drop(local);
        // The next head is right behind it.
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let length = framing.strip_prefix("Content-Length: ").map(str::trim);
        if let Some(length) = length {
            assert_eq!(fields(&head, "content-length"), [length]);
        }
    }
}

async fn bodiless(stage: Stage) {
    let mut visitor = stage.visitor("").await;
    for (status, framing) in [
        (204, ""),
        (204, "Content-Length: 0\r\n"),
        (204, "Content-Length: 5\r\n"),
        (304, ""),
        (304, "Content-Length: 5\r\n"),
        (304, "ETag: \"x\"\r\n"),
    ] {
        visitor.send(hosted(GET)).await;
        let mut local = stage.local().await;
        local.head().await;
        local
            .send(format!("HTTP/1.1 {status} None\r\n{framing}\r\n"))
            .await;
        drop(local);
        let head = visitor.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(fields(&head, "transfer-encoding").is_empty(), "{head}");
        // That of a 304 would be the one that a 200 had.
        let lengths = fields(&head, "content-length");
        assert!(
            lengths.is_empty() || (status, &lengths[..]) == (304, &["5"]),
            "{head}"
        );
    }
}

async fn reset_content(stage: Stage) {
    for content in ["", "hi"] {
        let length = content.len();
        let bytes =
            format!("HTTP/1.1 205 Reset Content\r\nContent-Length: {length}\r\n\r\n{content}");
        let answer = answer(&stage, bytes).await;
        assert_eq!((answer.status(), answer.text()), (205, ""));
        assert_eq!(answer.field("content-length"), ["0"]);
    }
}

async fn close_delimited(stage: Stage) {
    for version in ["1.0", "1.1"] {
        let bytes = format!("HTTP/{version} 200 OK\r\n\r\nup to the end");
        let new = answer(&stage, &bytes).await;
        let framed = new.field("transfer-encoding").len() + new.field("content-length").len();
        assert_eq!(
            (framed, new.whole().unwrap()),
            (1, b"up to the end".to_vec()),
            "{}",
            new.head
        );
        let old = answer_to(&stage, "GET / HTTP/1.0\r\nHOST\r\n\r\n", &bytes).await;
        assert_eq!(
            (old.field("transfer-encoding").len(), old.text()),
            (0, "up to the end")
        );
    }
}

async fn broken_off(stage: Stage) {
    for start in ["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", CHUNKED] {
        for (body, is_bare) in [
            ("", true),
            ("2\r\nhi\r\n", false),
            ("2\r\nhi\r\n0\r\n", false),
            ("5\r\nhi", false),
        ] {
            let answer = answer(&stage, format!("{start}{body}")).await;
            if stage.is_unary() || (is_bare && answer.status() != 200) {
                assert_eq!(error(&answer), (502, "local-broken"));
            } else {
                assert!(
                    answer.error().is_some() || answer.whole().is_none(),
                    "{start}{body}: {answer:?}"
                );
            }
        }
    }
}

async fn tunnel_lost(stage: Stage) {
    let (mut visitor, mut local, _) = stage
        .call("GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n")
        .await;
    local.send(format!("{CHUNKED}2\r\nhi\r\n")).await;
    if stage.is_unary() {
        drop(stage.client);
        assert_eq!(error(&rest(visitor).await), (502, "tunnel-closed"));
    } else {
        visitor.head().await;
        assert_eq!(visitor.chunks(2).await, b"hi");
        drop(stage.client);
        assert_eq!(visitor.rest().await, b"");
    }
}

async fn no_response(stage: Stage) {
    let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n";
    for bytes in [
        format!("{two}Content-Length: 3\r\n\r\nhi"),
        format!("{two}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "hello\r\n\r\n".to_owned(),
        String::new(),
    ] {
        assert_eq!(
            error(&answer(&stage, &bytes).await),
            (502, "local-broken"),
            "{bytes}"
        );
    }
}

async fn extra_bytes(stage: Stage) {
    let (mut visitor, mut local, _) = stage.call(GET).await;
    local
        .send(format!(
            "{OK}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nFORGED"
        ))
        .await;
    visitor.head().await;
    assert_eq!(visitor.exactly(2).await, b"hi");
    assert_eq!(local.rest().await, b"");
    visitor
        .send(hosted(
            "GET /next HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n",
        ))
        .await;
    let mut local = stage.local().await;
    assert!(local.head().await.starts_with("GET /next "));
    local.send(OK).await;
    assert_eq!(rest(visitor).await.text(), "hi");
}
