//! Whether the relay says honestly that it is ready.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Client, Relay, RelayProgram, eventually, get};

async fn status(address: SocketAddr, page: &str) -> u16 {
    get(address, page).await.status()
}

#[tokio::test]
async fn is_not_ready_from_the_moment_it_is_asked_to_stop() {
    let mut unready = RelayProgram::unready(|command| {
        command.args(["--open", "--metrics-listen", "127.0.0.1:0"]);
    });
    let line = unready.line_with("serving metrics").await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let operators: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    let mut relay = RelayProgram::ready(unready).await;
    let address = relay.address;

    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = app.local_addr().unwrap().to_string();
    let config =
        ggrok_client::Config::new(address.to_string().parse().unwrap(), local.parse().unwrap());
    let _client = Client::ready(config).await;
    let call = tokio::spawn(async move { get(address, "/").await });
    // The client looks once whether anybody is there.
    let mut called = loop {
        let (mut stream, _) = app.accept().await.unwrap();
        if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
            break stream;
        }
    };
    for at in [address, operators] {
        assert_eq!(status(at, "/_ggrok/ready").await, 200);
    }

    relay.program.signal("TERM").await;
    eventually("it says that it stops", async || {
        (status(operators, "/_ggrok/ready").await == 503).then_some(())
    })
    .await;
    assert_eq!(status(operators, "/_ggrok/health").await, 200);
    let metrics = get(operators, "/_ggrok/metrics").await;
    assert!(metrics.text().contains("\nggrok_ready 0\n"));
    assert!(metrics.text().contains("\nggrok_calls_in_flight 1\n"));
    assert!(TcpStream::connect(address).await.is_err());

    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    called.write_all(answer).await.unwrap();
    assert_eq!(call.await.unwrap().text(), "hi");
    assert_eq!(relay.program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn tells_those_who_are_connected_that_it_stops() {
    let mut relay = Relay::start().await;
    let mut prober = TcpStream::connect(relay.address).await.unwrap();
    let request = format!(
        "GET /_ggrok/ready HTTP/1.1\r\nHost: {}\r\n\r\n",
        relay.address
    );
    let mut answer = [0; 12];
    prober.write_all(request.as_bytes()).await.unwrap();
    prober.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");

    let _stopping = relay.stop();
    prober.write_all(request.as_bytes()).await.unwrap();
    let mut rest = String::new();
    prober.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("HTTP/1.1 503"), "{rest}");
    assert!(rest.contains("connection: close\r\n"), "{rest}");
}
