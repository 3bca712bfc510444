//! Starts, ends and returns: nothing leaks, nothing hangs.

use std::sync::Arc;
use std::time::Duration;

use ggrok_client::{Dialect, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::support::{Client, Origin, PATIENCE, Relay, Seen, Setup, eventually, get};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

#[tokio::test]
async fn comes_back_to_a_relay_that_was_gone() {
    let mut relay = Relay::start().await;
    let address = relay.address;
    let origin = Origin::start(ok).await;
    let mut client = Client::start(&relay, &origin).await;
    for _ in 0..3 {
        relay.stop().await.unwrap();
        while !matches!(client.event().await, Event::Waiting { .. }) {}
        relay = Relay::at(address, |_| {}).await;
        client.await_ready().await;
        assert_eq!(get(address, "/").await.status(), 200);
    }
}

#[tokio::test]
async fn stops_at_once_where_nothing_runs() {
    let mut relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let mut client = Client::start(&relay, &origin).await;
    let idle = TcpStream::connect(relay.address).await.unwrap();
    // Far below the grace period, and in no relation to the machine's speed.
    tokio::time::timeout(Duration::from_secs(5), relay.stop())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(client.event().await, Event::Waiting { .. }));
    drop(idle);
}

#[tokio::test]
async fn finishes_the_calls_in_flight_before_it_stops() {
    let barrier = Arc::new(Barrier::new(2));
    let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = origin.local_addr().unwrap();
    let release = Arc::clone(&barrier);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = origin.accept().await.unwrap();
            let release = Arc::clone(&release);
            tokio::spawn(async move {
                if stream.read_u8().await.is_ok() {
                    release.wait().await;
                    release.wait().await;
                    stream
                        .write_all(&ok(&Seen {
                            head: String::new(),
                            body: vec![],
                        }))
                        .await
                        .unwrap();
                }
            });
        }
    });
    let mut relay = Relay::start().await;
    let relay_address = relay.address;
    let _client = Client::ready(ggrok_client::Config::new(
        relay_address.to_string().parse().unwrap(),
        address.to_string().parse().unwrap(),
    ))
    .await;
    let call = tokio::spawn(async move { get(relay_address, "/").await });
    barrier.wait().await; // The request is at the local server.
    let stopping = relay.stop();
    let early = tokio::time::timeout(Duration::from_millis(200), &mut *stopping).await;
    assert!(early.is_err(), "the relay did not wait for the call");
    assert!(
        TcpStream::connect(relay_address).await.is_err(),
        "the relay still accepts"
    );
    barrier.wait().await;
    assert_eq!(call.await.unwrap().text(), "hi");
    tokio::time::timeout(PATIENCE, stopping)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn cuts_calls_that_outlast_the_grace_period() {
    let mut relay = Relay::with(|config| config.grace_period = Duration::from_millis(200)).await;
    let origin = Origin::start(|_: &Seen| Vec::new()).await;
    let _client = Client::start(&relay, &origin).await;
    let mut visitor = TcpStream::connect(relay.address).await.unwrap();
    let host = relay.address;
    visitor
        .write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    eventually("the local server has the request", async || {
        (!origin.seen().is_empty()).then_some(())
    })
    .await;
    tokio::time::timeout(PATIENCE, relay.stop())
        .await
        .unwrap()
        .unwrap();
    let mut answer = Vec::new();
    visitor.read_to_end(&mut answer).await.ok();
    assert!(answer.is_empty(), "a call that was cut has no answer");
}

#[tokio::test]
async fn tells_the_relay_when_the_client_stops() {
    let setup = Setup::start(Origin::start(ok).await).await;
    assert_eq!(setup.relay.tunnels().await, 1);
    setup.client.stop().await.unwrap();
    eventually("the relay knows", async || {
        (setup.relay.tunnels().await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn lets_visitors_of_a_fresh_relay_wait_for_the_client() {
    let relay = Relay::with(|config| config.settling_time = PATIENCE).await;
    let origin = Origin::start(ok).await;
    let address = relay.address;
    let mut early = tokio::spawn(async move { get(address, "/").await });
    let answered = tokio::time::timeout(Duration::from_millis(100), &mut early).await;
    assert!(
        answered.is_err(),
        "it was answered before there was a client"
    );
    let _client = Client::start(&relay, &origin).await;
    assert_eq!(early.await.unwrap().text(), "hi");
}

/// Tasks and open files of this process, which in nextest and in a `#[tokio::test]` of its own
/// runtime are this test's alone.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn leaves_no_task_behind() {
    let before = tasks();
    let mut relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    for _ in 0..10 {
        let client = Client::start(&relay, &origin).await;
        let address = relay.address;
        let mut visitors = JoinSet::new();
        for _ in 0..20 {
            visitors.spawn(async move { get(address, "/").await.status() });
        }
        while let Some(status) = visitors.join_next().await {
            assert_eq!(status.unwrap(), 200);
        }
        client.stop().await.unwrap();
    }
    relay.stop().await.unwrap();
    drop((relay, origin));
    eventually("all tasks have ended", async || {
        (tasks() == before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn leaves_a_relay_that_no_longer_wants_it() {
    let origin = Origin::start(ok).await;
    let local = origin.address.to_string();
    for (code, left) in [(4409, "Replaced"), (4410, "Removed")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = listener.local_addr().unwrap().to_string();
        let mut config = ggrok_client::Config::new(relay.parse().unwrap(), local.parse().unwrap());
        config.dialect = Some(Dialect::Ggrok);
        let mut client = Client::launch(config);
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        socket.close(Some(frame)).await.unwrap();
        assert_eq!(format!("{:?}", client.ended().await.unwrap_err()), left);
    }
}
