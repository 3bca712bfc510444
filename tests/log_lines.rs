//! Peers cannot fill the log of a relay.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, RelayProgram, dial, handshake};

/// Sends a request many times on one connection, and waits for as many answers of a status.
async fn repeat(relay: SocketAddr, request: &str, times: usize, status: &str) {
    let stream = TcpStream::connect(relay).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let all = request.repeat(times);
    let writing = tokio::spawn(async move {
        write.write_all(all.as_bytes()).await.unwrap();
        write
    });
    let reading = async {
        let (mut text, mut answers) = (Vec::new(), 0);
        while answers < times {
            let length = text.len();
            assert!(
                read.read_buf(&mut text).await.unwrap() > 0,
                "after {answers}"
            );
            // A status line that was cut is counted with what comes after it.
            let from = length.saturating_sub(status.len() - 1);
            answers += String::from_utf8_lossy(&text[from..])
                .matches(status)
                .count();
        }
    };
    timeout(4 * PATIENCE, reading)
        .await
        .expect("too few answers");
    writing.await.unwrap();
}

/// Stops a relay, and returns all that it has logged since it listens.
async fn logged(mut relay: RelayProgram) -> String {
    relay.program.signal("TERM").await;
    relay.program.rest().await
}

#[tokio::test]
async fn ten_thousand_refused_registrations_make_a_few_lines() {
    let relay = RelayProgram::start(|command| {
        command.env("GGROK_TOKEN", "a token of the operator");
    })
    .await;
    let at = relay.address;
    let bare = format!("GET /$$ggrok HTTP/1.1\r\nHost: {at}\r\n\r\n");
    repeat(at, &bare, 10_000, "HTTP/1.1 401 ").await;
    let wrong =
        format!("GET /_ggrok/mirror?name=a HTTP/1.1\r\nHost: {at}\r\nX-Ggrok-Token: x\r\n\r\n");
    repeat(at, &wrong, 10, "HTTP/1.1 401 ").await;
    repeat(at, &wrong, 1_000, "HTTP/1.1 429 ").await;
    let log = logged(relay).await;
    let lines = log.lines().count();
    assert!((5..20).contains(&lines), "{lines} lines: {log}");
    assert!(log.contains("\"count\":11000"), "{log}");
}

#[tokio::test]
async fn clients_of_an_open_relay_that_come_and_go_make_a_bounded_number_of_lines() {
    let relay = RelayProgram::start(|command| {
        command.arg("--open");
    })
    .await;
    for _ in 0..400 {
        let (socket, _) = dial(handshake(relay.address, "/_ggrok/mirror?name=a", "x")).await;
        drop(socket);
    }
    let bad = format!(
        "GET /_ggrok/mirror HTTP/1.1\r\nHost: {}\r\n\r\n",
        relay.address
    );
    repeat(relay.address, &bad, 1_000, "HTTP/1.1 400 ").await;
    let log = logged(relay).await;
    let lines = log.lines().count();
    assert!((100..350).contains(&lines), "{lines} lines");
    assert!(
        log.contains("\"kind\":\"clients that registered\""),
        "{log}"
    );
}

#[tokio::test]
async fn frames_of_http2_that_break_its_rules_make_no_lines() {
    let relay = RelayProgram::start(|command| {
        command.args(["--open", "--http2"]);
    })
    .await;
    let mut stream = TcpStream::connect(relay.address).await.unwrap();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // The acknowledgement of a ping that the relay has not sent, with 8 bytes.
    let mut unasked = vec![0, 0, 8, 6, 1, 0, 0, 0, 0];
    unasked.extend([7; 8]);
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, b'e', b'n', b'd', 0, 0, 0, 0, 0];
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(&settings).await.unwrap();
    stream.write_all(&unasked.repeat(5_000)).await.unwrap();
    stream.write_all(&ping).await.unwrap();
    let answered = async {
        let mut read = Vec::new();
        while !read.windows(3).any(|bytes| bytes == b"end") {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        }
    };
    timeout(PATIENCE, answered).await.expect("no pong in time");
    let log = logged(relay).await;
    assert!(log.lines().count() < 10, "{log}");
}
