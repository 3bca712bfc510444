//! The limits that a client's program sets for itself hold beside the relay's.

use std::time::Duration;

use tokio::process::Command;

use crate::support::{Origin, Program, Relay, Seen, Wire, Wires, eventually, raw};

fn never(_: &Seen) -> Vec<u8> {
    Vec::new()
}

/// An event stream that says one thing, and then nothing.
fn quiet(_: &Seen) -> Vec<u8> {
    STREAM.into()
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                      Transfer-Encoding: chunked\r\n\r\n3\r\n:a\n\r\n";

/// A client at `a.test` before this local server.
async fn client(relay: &Relay, origin: &Origin, change: impl FnOnce(&mut Command)) -> Program {
    let (server, local) = (relay.address.to_string(), origin.address.to_string());
    let mut command = Program::command("ggrok-client");
    command.args(["--server", &server, "--local", &local, "--host", "a.test"]);
    change(&mut command);
    let mut client = Program::start(&mut command);
    client.line_with("Ready").await;
    client
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_quiet_response_is_ended_by_the_limit_of_its_client_alone() {
    let short = Duration::from_millis(100);
    let patient =
        Wires::before(Relay::with(|config| config.limits.stream_idle = short).await).await;
    let (mut kept, mut local, _) = patient.call("GET / HTTP/1.1\r\nHOST\r\n\r\n").await;
    local.send(STREAM).await;
    kept.head().await;
    assert_eq!(kept.chunk().await, b":a\n");

    let origin = Origin::start(quiet).await;
    let _client = client(&patient.relay, &origin, |command| {
        command.env("GGROK_STREAM_IDLE", "400ms");
    })
    .await;
    let mut ended = Wire::connect(patient.relay.address).await;
    ended.send(GET).await;
    ended.head().await;
    assert_eq!(ended.chunk().await, b":a\n");
    assert_eq!(ended.rest().await, b"", "it is cut off, and not finished");

    local.send_chunk(b":b\n").await;
    assert_eq!(kept.chunk().await, b":b\n");
}

#[tokio::test]
async fn a_client_takes_as_many_calls_as_it_is_told() {
    let relay = Relay::start().await;
    let origin = Origin::start(never).await;
    let _client = client(&relay, &origin, |command| {
        command.args(["--calls", "1"]);
    })
    .await;
    let mut held = Wire::connect(relay.address).await;
    held.send(GET).await;
    eventually("the first is at the local server", async || {
        (origin.seen().len() == 1).then_some(())
    })
    .await;
    let answer = raw(relay.address, GET).await;
    assert_eq!(
        (answer.status(), answer.error()),
        (503, Some("too-many-calls"))
    );
}
