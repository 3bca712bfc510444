//! The relay where the system allows few open files.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{Client, Origin, RelayProgram, Seen, Wire, dial, eventually, get, handshake};

fn app(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

/// A relay with a limit of open files, as `ulimit` sets it.
async fn with_files(limit: &str) -> RelayProgram {
    RelayProgram::start(|command| {
        let inner = std::mem::replace(command, Command::new("sh"));
        let limit = format!("ulimit {limit}; exec \"$@\"");
        command.args(["-c", &limit, "sh"]);
        command.arg(inner.as_std().get_program());
        command.args(inner.as_std().get_args());
        command.args(["--open", "--settling-time", "0s", "--log", "info"]);
        for (name, value) in inner.as_std().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    })
    .await
}

async fn client(relay: SocketAddr, origin: &Origin) -> Client {
    let local = origin.address.to_string();
    let relay = relay.to_string().parse().unwrap();
    Client::ready(ggrok_client::Config::new(relay, local.parse().unwrap())).await
}

async fn connect(address: &str, relay: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let address: IpAddr = address.parse().unwrap();
    socket.bind((address, 0).into()).unwrap();
    socket.connect(relay).await.unwrap()
}

async fn silent(count: usize, relay: SocketAddr) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..count {
        silent.push(connect("127.0.0.2", relay).await);
    }
    silent
}

async fn is_served_at_once(relay: SocketAddr) {
    for _ in 0..5 {
        let answer = timeout(Duration::from_secs(1), get(relay, "/")).await;
        assert_eq!(answer.expect("a visitor waits").status(), 200);
    }
}

#[tokio::test]
async fn serves_visitors_while_silent_connections_have_the_files_that_a_hard_limit_allows() {
    let relay = with_files("-n 256").await;
    let origin = Origin::start(app).await;
    let _client = client(relay.address, &origin).await;
    let mut early = Wire::new(connect("127.0.0.3", relay.address).await);
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", relay.address);
    for _ in 0..2 {
        early.send(&request).await;
        early.until(b"\r\n\r\nhi").await;
        let _silent = silent(300, relay.address).await;
        is_served_at_once(relay.address).await;
    }
    // Files are left for clients.
    let handshake = handshake(relay.address, "/_ggrok/mirror?name=late", "any");
    let registering = timeout(Duration::from_secs(1), dial(handshake)).await;
    registering.expect("a client waits");
}

#[tokio::test]
async fn raises_the_soft_limit() {
    let relay = with_files("-Sn 64").await;
    let origin = Origin::start(app).await;
    let _client = client(relay.address, &origin).await;
    let _silent = silent(200, relay.address).await;
    is_served_at_once(relay.address).await;
    assert!(relay.program.open_files() > 200);
}

#[tokio::test]
async fn outlives_the_end_of_its_open_files() {
    let mut relay = with_files("-n 64").await;
    let at = relay.address;
    let origin = Origin::start(app).await;
    let _client = client(at, &origin).await;
    // Clients do not give way.
    let mut clients = JoinSet::new();
    for number in 0..80 {
        let target = format!("/_ggrok/mirror?name=m{number}");
        clients.spawn(dial(handshake(at, &target, "any")));
    }
    relay.program.line_with("cannot accept connections").await;
    let before = relay.program.processor_time();
    sleep(Duration::from_secs(1)).await;
    let spent = relay.program.processor_time() - before;
    // Of 100: the clock ticks a hundred times a second.
    assert!(spent < 50, "it spins: {spent} ticks in a second");
    clients.shutdown().await;
    eventually("it serves again", async || {
        // As a task, since the relay may close this connection, too, while files are short.
        let answer = timeout(Duration::from_secs(2), tokio::spawn(get(at, "/"))).await;
        let is_served = matches!(answer, Ok(Ok(answer)) if answer.status() == 200);
        is_served.then_some(())
    })
    .await;
    relay.program.signal("TERM").await;
    // It complained once, and not ten times a second.
    let complaints = relay.program.rest().await;
    let complaints = complaints
        .lines()
        .filter(|line| line.contains("cannot accept"));
    assert_eq!(complaints.count(), 0, "after the first");
}
