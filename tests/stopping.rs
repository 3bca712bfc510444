//! A client that is asked to stop gives its visitors their answers first.

use std::time::Duration;

use ggrok_client::{Dialect, Event};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{
    Client, DIALECTS, Program, RelayProgram, Stage, Wire, eventually, fields, get, tenant,
};

const GET: &str = "GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n";

/// Waits until a client tells that visitors are still to get their answers.
async fn finishing(client: &mut Client) {
    while !matches!(client.event().await, Event::Finishing { .. }) {}
}

#[tokio::test]
async fn a_client_that_stops_finishes_the_call_that_it_is_at() {
    for dialect in DIALECTS {
        let mut stage = Stage::new(dialect).await;
        let (visitor, mut local, _) = stage.call(GET).await;
        stage.client.begin_to_stop();
        finishing(&mut stage.client).await;
        let early = timeout(Duration::from_millis(50), &mut stage.client.task).await;
        assert!(early.is_err(), "{dialect}: it did not wait for the call");
        local
            .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole")
            .await;
        let answer = String::from_utf8(visitor.rest().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{dialect}: {answer}");
        assert!(answer.ends_with("\r\n\r\nwhole"), "{dialect}: {answer}");
        stage.client.ended().await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_stops_leaves_its_place_to_the_next_one_and_loses_no_stream() {
    let mut stage = Stage::new(Dialect::V2).await;
    let (mut visitor, mut local, _) = stage.call(GET).await;
    let size = 8 << 20;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
    local.send(head).await;
    visitor.head().await;
    stage.client.begin_to_stop();
    finishing(&mut stage.client).await;
    eventually("the place is free", async || {
        (stage.relay.tunnels().await == 0).then_some(())
    })
    .await;
    // Nobody is replaced by this one.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let next = tenant(
        &stage.relay,
        listener.local_addr().unwrap(),
        stage.dialect,
        "app",
    );
    let _next = Client::ready(next).await;
    let sending = tokio::spawn(async move { local.send(vec![b'x'; size]).await });
    let body = visitor.rest().await;
    assert!(body == vec![b'x'; size], "{} of {size} bytes", body.len());
    sending.await.unwrap();
    stage.client.ended().await.unwrap();
}

#[tokio::test]
async fn a_client_that_stops_gives_up_what_outlasts_its_grace_period() {
    for dialect in DIALECTS {
        let stage = Stage::new(dialect).await;
        let local = stage.listener.local_addr().unwrap();
        let mut settings = tenant(&stage.relay, local, dialect, "short");
        settings.grace_period = Duration::from_millis(200);
        let client = Client::ready(settings).await;
        let said = "GET / HTTP/1.1\r\nHost: short.example\r\nConnection: close\r\n\r\n";
        let (visitor, _silent, _) = stage.call(said).await;
        client.stop().await.unwrap();
        let answer = String::from_utf8(visitor.rest().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{dialect}: {answer}");
        let says = ["call-reset", "unanswered"];
        let error = fields(&answer, "x-ggrok-error");
        assert!(says.contains(&error[0]), "{dialect}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_stops_waits_for_no_upgraded_connection() {
    let mut stage = Stage::new(Dialect::V2).await;
    let asks = "GET / HTTP/1.1\r\nHOST\r\nConnection: upgrade\r\nUpgrade: weird/7\r\n\r\n";
    let (mut visitor, mut local, _) = stage.call(asks).await;
    local
        .send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: weird/7\r\n\r\n")
        .await;
    visitor.head().await;
    stage.client.begin_to_stop();
    // Far below the grace period.
    let ended = timeout(Duration::from_secs(3), stage.client.ended()).await;
    ended.expect("it waits for the connection").unwrap();
    assert_eq!(visitor.rest().await, b"");
    assert_eq!(local.rest().await, b"");
}

#[tokio::test]
async fn a_second_ctrl_c_ends_the_wait_and_a_second_sigterm_does_not() {
    let relay = RelayProgram::start(|command| {
        command.arg("--open");
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = Program::start(Program::command("ggrok-client").args([
        "--server",
        &relay.address.to_string(),
        "--local",
        &listener.local_addr().unwrap().to_string(),
        "--grace-period",
        "1m",
    ]));
    client.line_with("Ready").await;
    let address = relay.address;
    let visitor = tokio::spawn(async move { get(address, "/").await });
    // The client looks once whether anybody is there.
    let _looked = listener.accept().await.unwrap();
    let _silent = listener.accept().await.unwrap();
    client.signal("INT").await;
    client.line_with("Ctrl-C again ends that").await;
    client.signal("TERM").await;
    let early = timeout(Duration::from_millis(200), client.rest()).await;
    assert!(early.is_err(), "it did not wait: {early:?}");
    client.signal("INT").await;
    let ended = client.ended_within(Duration::from_secs(20)).await;
    assert_eq!(ended.code(), Some(0));
    assert_eq!(visitor.await.unwrap().status(), 502);
}

#[cfg(unix)]
#[tokio::test]
async fn a_closed_terminal_lets_visitors_have_their_answers_at_both_programs() {
    for stopped in ["relay", "client"] {
        let mut relay = RelayProgram::start(|command| {
            command.arg("--open");
        })
        .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = Program::start(Program::command("ggrok-client").args([
            "--server",
            &relay.address.to_string(),
            "--local",
            &listener.local_addr().unwrap().to_string(),
        ]));
        client.line_with("Ready").await;
        let address = relay.address;
        let visitor = tokio::spawn(async move { get(address, "/").await });
        let mut local = loop {
            let (stream, _) = listener.accept().await.unwrap();
            // The client looks once whether anybody is there.
            if matches!(stream.peek(&mut [0]).await, Ok(1)) {
                break Wire::new(stream);
            }
        };
        local.head().await;
        let program = if stopped == "relay" {
            &mut relay.program
        } else {
            &mut client
        };
        // Shells and terminals may both send it.
        program.signal("HUP").await;
        program.signal("HUP").await;
        let early = timeout(Duration::from_millis(200), program.ended()).await;
        assert!(early.is_err(), "{stopped}: it did not wait: {early:?}");
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        local.send(answer).await;
        assert_eq!(visitor.await.unwrap().text(), "ok", "{stopped}");
        assert_eq!(program.ended().await.code(), Some(0), "{stopped}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn programs_that_were_started_with_hangups_ignored_go_on() {
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = origin.local_addr().unwrap().port();
    for (name, args, started) in [
        (
            "ggrok-server",
            "--open --port 0 --bind 127.0.0.1".to_owned(),
            "listening",
        ),
        (
            "ggrok-client",
            format!("--server 127.0.0.1:1 --port {port} --log debug"),
            "",
        ),
    ] {
        let program = Program::command(name);
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"trap "" HUP; exec "$@""#, "sh"]);
        shell.arg(program.as_std().get_program());
        shell
            .args(args.split(' '))
            .env("GGROK_CONFIG", "/nonexistent");
        ignored(&mut shell, started).await;
    }
}

/// Starts a program that says this, and sends it SIGHUP.
#[cfg(unix)]
async fn ignored(shell: &mut Command, started: &str) {
    let mut program = if started.is_empty() {
        let mut program = Program::start(shell);
        program.line_with("No tunnel").await;
        program
    } else {
        let mut program = Program::start_with_stderr(shell);
        program.line_with(started).await;
        program
    };
    program.signal("HUP").await;
    let ended = timeout(Duration::from_millis(300), program.ended()).await;
    assert!(ended.is_err(), "{ended:?}");
    program.signal("TERM").await;
    assert_eq!(program.ended().await.code(), Some(0));
}
