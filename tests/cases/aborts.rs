//! Cases 73 to 79.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::play::{CHUNKED, GET, OK, error, nothing_arrived, rest};
use super::{Case, case};
use crate::support::{Stage, eventually, hosted, noise, raw};

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(73, "9110, 9.2", "a visitor who leaves while it waits ends the app's request", leaves_waiting)
            .not_in_unary("the turn is over when the answer has come; then it is dropped"),
        case(74, "9110, 9.2", "a visitor who leaves in the middle of a response ends that", leaves_reading)
            .not_in_unary("the response is whole before the visitor gets its first byte"),
        case(75, "9110, 9.2", "a visitor who leaves in the middle of an upload ends that, even where the app does not read", leaves_sending),
        case(76, "9112, 9.6", "a visitor who closes its sending half still gets its answer", half_closed)
            .nowhere("it has left: or a closed tab would go unnoticed"),
        case(77, "9110, 9.2.2", "a request is sent again only where it is idempotent and has not been answered", retries)
            .remark("any other takes no connection to the app that has been idle for 100 ms, since the app may be closing it"),
        case(78, "9110, 15.6", "each failure has its own status, and a mark that tells it from the app's: 404, 502, 503, 504", failures),
        case(79, "9110, 7.6", "the visitor sees each piece of a response at once, whatever its type", pieces)
            .not_in_unary("whole bodies alone are carried"),
    ]
}

async fn leaves_waiting(stage: Stage) {
    let (visitor, mut local, _) = stage.call(GET).await;
    drop(visitor);
    if stage.is_unary() {
        local.send(OK).await;
        drop(local);
        return nothing_arrived(&stage).await;
    }
    assert_eq!(local.rest().await, b"");
}

async fn leaves_reading(stage: Stage) {
    let (mut visitor, mut local, _) = stage.call(GET).await;
    local.send(format!("{CHUNKED}2\r\nhi\r\n")).await;
    if stage.is_unary() {
        drop(visitor);
        local.send("0\r\n\r\n").await;
        drop(local);
        return nothing_arrived(&stage).await;
    }
    visitor.head().await;
    drop(visitor);
    assert_eq!(local.rest().await, b"");
}

async fn leaves_sending(stage: Stage) {
    let post = "POST / HTTP/1.1\r\nHOST\r\nContent-Length: 100000000\r\n\r\n";
    let half = stage.visitor(format!("{post}half")).await;
    if stage.is_unary() {
        // The app is not asked before the body is there.
        drop(half);
        return nothing_arrived(&stage).await;
    }
    let mut local = stage.local().await;
    local.head().await;
    drop(half);
    assert_eq!(local.rest().await, b"half");
    // And where all is full, because nobody reads.
    let (mut visitor, local, _) = stage.call(post).await;
    let sending = async { while visitor.try_send(noise(1 << 20)).await.is_ok() {} };
    let full = timeout(Duration::from_millis(300), sending).await;
    assert!(full.is_err(), "the relay ends the upload");
    drop(visitor);
    local.rest().await;
}

async fn half_closed(stage: Stage) {
    let mut visitor = TcpStream::connect(stage.relay.address).await.unwrap();
    visitor.write_all(&hosted(GET)).await.unwrap();
    let mut local = stage.local().await;
    local.head().await;
    visitor.shutdown().await.unwrap();
    let mut answer = Vec::new();
    visitor.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"");
    if stage.is_unary() {
        local.send(OK).await;
    } else {
        assert_eq!(local.rest().await, b"");
    }
}

async fn retries(stage: Stage) {
    for (line, is_repeated) in [
        ("GET", true),
        ("PUT", true),
        ("POST", false),
        ("PATCH", false),
    ] {
        // On a connection that was used before, and is closed without an answer.
        let (mut visitor, mut local, _) = stage.call(GET).await;
        local.send(OK).await;
        visitor.head().await;
        visitor.exactly(2).await;
        visitor
            .send(hosted(format!(
                "{line} /lost HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n"
            )))
            .await;
        assert!(local.head().await.starts_with(line));
        drop(local);
        if is_repeated {
            let mut local = stage.local().await;
            assert!(local.head().await.starts_with(line));
            local.send(OK).await;
            drop(local);
            assert_eq!(rest(visitor).await.text(), "hi");
        } else {
            assert_eq!(error(&rest(visitor).await), (502, "local-broken"));
            nothing_arrived(&stage).await;
        }
    }
    // What cannot be understood is an answer, too.
    let (mut visitor, mut local, _) = stage.call(GET).await;
    local.send(OK).await;
    visitor.head().await;
    visitor.exactly(2).await;
    visitor.send(hosted(CLOSE)).await;
    local.head().await;
    local.send("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n").await;
    assert_eq!(error(&rest(visitor).await), (502, "local-broken"));
    nothing_arrived(&stage).await;
    // Nor on a new one.
    let (visitor, local, _) = stage
        .call("GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n")
        .await;
    drop(local);
    assert_eq!(error(&rest(visitor).await), (502, "local-broken"));
    nothing_arrived(&stage).await;
}

const CLOSE: &str = "GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n";

async fn failures(stage: Stage) {
    let unknown = stage
        .ask("GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(error(&unknown), (404, "unknown-host"));

    let one = Stage::with(stage.dialect, |config| config.limits.calls = 1).await;
    let (visitor, mut local, _) = one.call(CLOSE).await;
    let refused = one.ask(CLOSE).await;
    assert_eq!(
        (error(&refused), refused.field("retry-after")),
        ((503, "too-many-calls"), vec!["5"])
    );
    local.send(OK).await;
    assert_eq!(rest(visitor).await.text(), "hi");

    let hasty = Stage::with(stage.dialect, |config| {
        config.limits.answer_timeout = Duration::from_millis(100);
        config.limits.call_timeout = Duration::from_millis(100);
    });
    let hasty = hasty.await;
    let (visitor, local, _) = hasty.call(CLOSE).await;
    assert_eq!(error(&rest(visitor).await), (504, "timed-out"));
    drop(local);

    let Stage {
        relay,
        client,
        listener,
        ..
    } = stage;
    drop(listener);
    assert_eq!(
        error(&raw(relay.address, hosted(CLOSE)).await),
        (502, "local-unreachable")
    );
    drop(client);
    let offline = eventually("the relay sees that the client left", async || {
        let answer = raw(relay.address, hosted(CLOSE)).await;
        (answer.status() == 503).then_some(answer)
    });
    let offline = offline.await;
    assert_eq!(
        (error(&offline), offline.field("retry-after")),
        ((503, "offline"), vec!["5"])
    );
}

async fn pieces(stage: Stage) {
    for kind in [
        "text/event-stream",
        "text/html",
        "application/x-ndjson",
        "image/png",
    ] {
        let (mut visitor, mut local, _) = stage.call(CLOSE).await;
        let head = CHUNKED.replacen("\r\n", &format!("\r\nContent-Type: {kind}\r\n"), 1);
        local.send(head).await;
        for number in 0..5_u8 {
            local.send_chunk(&[number]).await;
            if !stage.is_unary() {
                if number == 0 {
                    visitor.head().await;
                }
                assert_eq!(visitor.chunks(1).await, [number]);
            }
        }
        local.send("0\r\n\r\n").await;
        if stage.is_unary() {
            assert_eq!(rest(visitor).await.whole().unwrap(), [0, 1, 2, 3, 4]);
        }
    }
}
