//! gRPC works through a tunnel as it does without one.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use ggrok_client::{Client as Publisher, Event};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use crate::support::{
    Client, Echo, EchoClient, GrpcServer, PATIENCE, Program, Relay, RelayProgram, Said, Told,
    eventually, noise, said, told, within,
};

async fn relay() -> Relay {
    Relay::with(|config| config.http2 = true).await
}

/// A tunnel to a gRPC server, and a client before it.
struct Tunnelled {
    server: GrpcServer,
    relay: Relay,
    _client: Client,
    visitor: EchoClient,
}

impl Tunnelled {
    async fn start() -> Self {
        let (server, relay) = (GrpcServer::start().await, relay().await);
        let local = server.address.to_string().parse().unwrap();
        let mut config =
            ggrok_client::Config::new(relay.address.to_string().parse().unwrap(), local);
        config.local_http2 = true;
        Self {
            _client: Client::ready(config).await,
            visitor: EchoClient::connect(relay.address).await,
            server,
            relay,
        }
    }
}

fn check_failure(status: &Status) {
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert_eq!(status.message(), "no: ü%\n");
    assert_eq!(status.details(), b"\x01details");
    assert_eq!(status.metadata().get("x-why").unwrap(), "because");
    let bytes = status.metadata().get_bin("x-why-bin").unwrap();
    assert_eq!(bytes.to_bytes().unwrap(), &b"\0\xff"[..]);
}

/// Calls of all four kinds, with metadata, statuses and large messages.
async fn calls_of_all_kinds(visitor: &mut EchoClient) {
    // Unary.
    let mut request = Request::new(Said::new("one", 1));
    let metadata = request.metadata_mut();
    metadata.insert("x-text", "a text".parse().unwrap());
    metadata.insert_bin("x-bytes-bin", MetadataValue::from_bytes(b"\0\x80\xff"));
    let response = visitor.unary(request).await.unwrap();
    assert_eq!(response.metadata().get("x-text").unwrap(), "a text");
    let bytes = response.metadata().get_bin("x-bytes-bin").unwrap();
    assert_eq!(bytes.to_bytes().unwrap(), &b"\0\x80\xff"[..]);
    assert_eq!(response.into_inner(), Said::new("one", 1));
    let large = Said::new(noise(4 << 20), 2);
    let response = visitor.unary(large.clone()).await.unwrap();
    assert!(response.into_inner() == large);

    // An error is a response of trailers alone.
    check_failure(&visitor.unary(Said::default()).await.unwrap_err());
    let missing = visitor.missing().await.unwrap_err();
    assert_eq!(
        (missing.code(), missing.message()),
        (Code::Unimplemented, "no such method")
    );

    // The server streams, and then ends or fails.
    let response = visitor.server_streaming(Said::new("many", 1000)).await;
    let mut many = response.unwrap().into_inner();
    for number in 0..1000 {
        let next = said(&mut many).await.unwrap();
        assert_eq!(next, Some(Said::new("many", number)));
    }
    assert_eq!(said(&mut many).await.unwrap(), None);
    let response = visitor.server_streaming(Said::new("", 2)).await;
    let mut many = response.unwrap().into_inner();
    for _ in 0..2 {
        assert!(said(&mut many).await.unwrap().is_some());
    }
    check_failure(&said(&mut many).await.unwrap_err());

    // The client streams.
    let piece = noise(100_000);
    let many = stream::iter(0..40).map(move |number| Said::new(piece.clone(), number));
    let counted = visitor.client_streaming(many).await.unwrap().into_inner();
    assert_eq!(counted, Said::new("4000000", 40));

    // Both stream, in turn.
    let (sender, receiver) = mpsc::channel(1);
    let asked = stream::unfold(receiver, async |mut receiver| {
        Some((receiver.recv().await?, receiver))
    });
    sender.send(Said::new("first", 0)).await.unwrap();
    let mut many = visitor.bidirectional(asked).await.unwrap().into_inner();
    assert_eq!(said(&mut many).await.unwrap(), Some(Said::new("first", 0)));
    for number in 1..100 {
        sender.send(Said::new("more", number)).await.unwrap();
        let next = said(&mut many).await.unwrap();
        assert_eq!(next, Some(Said::new("more", number)));
    }
    drop(sender);
    assert_eq!(said(&mut many).await.unwrap(), None);
}

#[tokio::test]
async fn carries_calls_of_all_four_kinds() {
    let mut tunnelled = Tunnelled::start().await;
    calls_of_all_kinds(&mut tunnelled.visitor).await;
}

#[tokio::test]
async fn carries_calls_of_all_four_kinds_between_the_programs() {
    let mut server = GrpcServer::start().await;
    let relay = RelayProgram::start(|command| {
        command.args(["--open", "--http2"]);
    })
    .await;
    let mut client = Program::command("ggrok-client");
    client
        .args(["--server", &format!("ws://{}", relay.address)])
        .args(["--local", &server.address.to_string(), "--local-http2"]);
    let mut client = Program::start(&mut client);
    client.line_with("Ready").await;
    let mut visitor = EchoClient::connect(relay.address).await;
    calls_of_all_kinds(&mut visitor).await;
    assert_eq!(told(&mut server.told).await, Told::Began);
    assert_eq!(told(&mut server.told).await, Told::Ended);
}

#[tokio::test]
async fn carries_calls_to_a_service_of_the_clients_own_program() {
    let relay = relay().await;
    let (echo, _told) = Echo::new();
    let (ready, mut is_ready) = mpsc::channel(10);
    let client = Publisher::builder()
        .relay(&relay.address.to_string())
        .unwrap()
        .local_http2(true)
        .on_event(move |event| drop(ready.try_send(event)));
    let _serving = tokio::spawn(client.serve(echo.routes()));
    while !matches!(is_ready.recv().await, Some(Event::Ready { .. })) {}
    let mut visitor = EchoClient::connect(relay.address).await;
    calls_of_all_kinds(&mut visitor).await;
}

#[tokio::test]
async fn carries_many_calls_at_once() {
    let tunnelled = Tunnelled::start().await;
    let mut calls = JoinSet::new();
    for number in 0..300 {
        let mut visitor = tunnelled.visitor.clone();
        calls.spawn(async move {
            let sent = Said::new(noise(10_000 + number as usize), number);
            let got = visitor.unary(sent.clone()).await.unwrap().into_inner();
            assert!(got == sent, "call {number}");
        });
    }
    calls.join_all().await;
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_at_the_server() {
    let Tunnelled {
        mut server,
        relay: _relay,
        _client,
        mut visitor,
    } = Tunnelled::start().await;
    let mut other = visitor.clone();
    let call = tokio::spawn(async move { other.wait(Said::new("", 1)).await });
    assert_eq!(told(&mut server.told).await, Told::Began);
    call.abort();
    assert_eq!(told(&mut server.told).await, Told::Ended);

    let many = visitor.server_streaming(Said::new("much", u32::MAX)).await;
    let mut many = many.unwrap().into_inner();
    said(&mut many).await.unwrap().unwrap();
    assert_eq!(told(&mut server.told).await, Told::Began);
    drop(many);
    assert_eq!(told(&mut server.told).await, Told::Ended);
    visitor.unary(Said::new("", 1)).await.unwrap();
}

#[tokio::test]
async fn deadlines_reach_the_server() {
    let mut tunnelled = Tunnelled::start().await;
    let patient = within(Said::new("", 1), Duration::from_secs(100));
    let response = tunnelled.visitor.unary(patient).await.unwrap();
    let deadline = response.metadata().get("grpc-timeout").unwrap();
    assert_eq!(deadline, "100000m");

    let hasty = within(Said::new("", 1), Duration::from_millis(500));
    let status = timeout(PATIENCE, tunnelled.visitor.wait(hasty)).await;
    let status = status.unwrap().unwrap_err();
    assert!(
        matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded),
        "{status:?}"
    );
    assert_eq!(told(&mut tunnelled.server.told).await, Told::Began);
    assert_eq!(told(&mut tunnelled.server.told).await, Told::Ended);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let Tunnelled {
        mut server,
        relay,
        _client,
        mut visitor,
    } = Tunnelled::start().await;
    let mut other = visitor.clone();
    let waiting = tokio::spawn(async move { other.wait(Said::new("", 1)).await });
    assert_eq!(told(&mut server.told).await, Told::Began);
    let response = visitor.server_streaming(Said::new("much", u32::MAX)).await;
    let mut many = response.unwrap().into_inner();
    said(&mut many).await.unwrap().unwrap();

    drop(_client);
    let status = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    check_unavailable(&status.unwrap_err(), "ggrok: tunnel-closed");
    // What has begun does not end as if it were whole.
    let broken = async {
        while said(&mut many).await?.is_some() {}
        Ok::<_, Status>(())
    };
    timeout(PATIENCE, broken).await.unwrap().unwrap_err();

    eventually("the client is gone", async || {
        (relay.tunnels().await == 0).then_some(())
    })
    .await;
    let status = visitor.unary(Said::new("", 1)).await.unwrap_err();
    check_unavailable(&status, "ggrok: offline");

    let local = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = local.local_addr().unwrap().to_string().parse().unwrap();
    drop(local);
    let mut config = ggrok_client::Config::new(relay.address.to_string().parse().unwrap(), nobody);
    config.local_http2 = true;
    let _client = Client::ready(config).await;
    let status = visitor.unary(Said::new("", 1)).await.unwrap_err();
    check_unavailable(&status, "ggrok: local-unreachable");
}

fn check_unavailable(status: &Status, message: &str) {
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, message)
    );
}
