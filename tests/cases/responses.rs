//! Cases 57 to 64.

use super::play::{CHUNKED, GET, OK, answer, answer_to, arrives, error, rest};
use super::{Case, case};
use crate::support::{Stage, fields};

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(57, "9110, 8.4", "content codings are left alone, and none is asked for", content_coding),
        case(58, "9110, 10.1.5, 12.5.1", "Accept and User-Agent are not invented", nothing_invented),
        case(59, "9110, 6.6.1", "Date is added where the app has none", date),
        case(60, "9110, 10.2.4", "Server is the app's, or none", server),
        case(61, "9110, 15", "any status from 200 to 999 passes; others are refused: 502", statuses)
            .remark("the reason phrase is the standard's"),
        case(62, "9110, 6.5", "trailers pass as trailers to a visitor who takes them, and never become fields", trailers)
            .not_in_unary("their envelopes have no place for trailers; they are dropped"),
        case(63, "9110, 13, 14", "ranges and conditions are the app's business", ranges),
        case(64, "9110, 5.4", "large response heads pass, or are refused clearly: 502", large_heads),
    ]
}

async fn content_coding(stage: Stage) {
    let packed =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let start = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n";
    let answer = answer(&stage, [&start[..], packed].concat()).await;
    assert_eq!(
        (answer.field("content-encoding"), &answer.body[..]),
        (vec!["gzip"], &packed[..])
    );
    let head = arrives(&stage, GET).await;
    assert!(fields(&head, "accept-encoding").is_empty(), "{head}");
}

async fn nothing_invented(stage: Stage) {
    let head = arrives(&stage, GET).await;
    for name in [
        "accept",
        "user-agent",
        "accept-language",
        "referer",
        "cookie",
        "content-type",
        "connection",
    ] {
        assert!(fields(&head, name).is_empty(), "{name} in {head}");
    }
}

async fn date(stage: Stage) {
    let bare = answer(&stage, OK).await;
    assert!(bare.field("date")[0].ends_with(" GMT"), "{}", bare.head);
    let dated = answer(
        &stage,
        OK.replacen("\r\n", "\r\nDate: Wed, 21 Oct 2015 07:28:00 GMT\r\n", 1),
    )
    .await;
    assert_eq!(dated.field("date"), ["Wed, 21 Oct 2015 07:28:00 GMT"]);
}

async fn server(stage: Stage) {
    assert!(answer(&stage, OK).await.field("server").is_empty());
    let named = answer(&stage, OK.replacen("\r\n", "\r\nServer: mine/1\r\n", 1)).await;
    assert_eq!(named.field("server"), ["mine/1"]);
}

async fn statuses(stage: Stage) {
    for (line, status) in [
        ("299 Odd", 299),
        ("404 Nothing", 404),
        ("418 x", 418),
        ("599 Odd", 599),
        ("799 Odd", 799),
        ("999 Odd", 999),
    ] {
        let answer = answer(
            &stage,
            format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\nhi"),
        )
        .await;
        assert_eq!((answer.status(), answer.text()), (status, "hi"));
    }
    for status in ["099", "99", "1000", "000"] {
        let bytes = format!("HTTP/1.1 {status} Odd\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(
            error(&answer(&stage, bytes).await),
            (502, "local-broken"),
            "{status}"
        );
    }
}

async fn trailers(stage: Stage) {
    let bytes = format!(
        "{CHUNKED}2\r\nhi\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n"
    )
    .replacen("\r\n", "\r\nTrailer: X-Sum\r\n", 1);
    let taking = "GET / HTTP/1.1\r\nHOST\r\nTE: trailers\r\nConnection: close, te\r\n\r\n";
    let taken = answer_to(&stage, taking, &bytes).await;
    let plain = answer(&stage, &bytes).await;
    let tail = if stage.is_unary() {
        "hi"
    } else {
        "0\r\nx-sum: 1\r\n\r\n"
    };
    assert!(
        taken.text().to_ascii_lowercase().ends_with(tail),
        "{taken:?}"
    );
    for answer in [&taken, &plain] {
        for name in ["x-sum", "set-cookie"] {
            assert!(answer.field(name).is_empty(), "{}", answer.head);
        }
        assert_eq!(answer.whole().unwrap(), b"hi");
    }
    // A request's become no fields either.
    let post = "POST / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nAuthorization: x\r\n\r\n";
    let (_visitor, mut local, head) = stage.call(post).await;
    assert!(fields(&head, "authorization").is_empty(), "{head}");
    local.send(OK).await;
}

async fn ranges(stage: Stage) {
    let lines = "Range: bytes=0-1,-1\r\nIf-Range: \"x\"\r\nIf-None-Match: W/\"y\", *\r\nIf-Modified-Since: never\r\n";
    let get = format!("GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n{lines}\r\n");
    let (visitor, mut local, head) = stage.call(get).await;
    let values = ["range", "if-range", "if-none-match", "if-modified-since"]
        .map(|name| fields(&head, name).join("|"));
    assert_eq!(values, ["bytes=0-1,-1", "\"x\"", "W/\"y\", *", "never"]);
    let parts = "--b\r\nContent-Range: bytes 0-1/9\r\n\r\nhi\r\n--b--\r\n";
    local.send(format!("HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=b\r\nContent-Length: {}\r\n\r\n{parts}", parts.len())).await;
    drop(local);
    let answer = rest(visitor).await;
    assert_eq!((answer.status(), answer.text()), (206, parts));
    // Nothing is remembered.
    assert!(arrives(&stage, GET).await.starts_with("GET / "));
}

async fn large_heads(stage: Stage) {
    let cookies = "Set-Cookie: a=".to_owned() + &"b".repeat(1000) + "\r\n";
    let large = answer(
        &stage,
        OK.replacen("\r\n", &format!("\r\n{}", cookies.repeat(100)), 1),
    )
    .await;
    assert_eq!(
        (large.status(), large.field("set-cookie").len()),
        (200, 100)
    );
    let line = format!("\r\nX: {}\r\n", "y".repeat(250_000));
    let long = answer(&stage, OK.replacen("\r\n", &line, 1)).await;
    assert_eq!((long.status(), long.field("x")[0].len()), (200, 250_000));
    for (length, code) in [
        (300_000, "response-head-too-large"),
        (2_000_000, "local-broken"),
    ] {
        let line = format!("\r\nX: {}\r\n", "y".repeat(length));
        let (visitor, mut local, _) = stage
            .call("GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n")
            .await;
        local.try_send(OK.replacen("\r\n", &line, 1)).await.ok();
        assert_eq!(error(&rest(visitor).await), (502, code), "{length}");
    }
    assert_eq!(answer(&stage, OK).await.status(), 200);
}
