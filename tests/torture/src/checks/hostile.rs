//! A client and a relay that keep no rule, against the real programs.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::check::{Findings, Tier};
use crate::ledger::Ending;
use crate::program::Program;
use crate::scene::{Scene, TOKEN};
use crate::visitor::Ask;

mod attacks;

/// Attacks cost their own link at most: both programs live, a bystander is served through all of it, and
/// the client connects to nothing but the relay and the local server that it was given.
pub async fn check(tier: Tier) -> Findings {
    let scene = Scene::start("ggrok.v2", &[]).await;
    let address = scene.relay.address;
    let files = scene.relay.program.open_files();
    let memory = scene.relay.program.memory();
    let (mut tried, mut served) = (0, 0);
    for dialect in ["ggrok.v2", "ggrok"] {
        for attack in attacks::of_clients() {
            attack_relay(address, dialect, &attack).await;
            tried += 1;
            let ending = scene.door.ask(&scene.ledger, Ask::get(100)).await;
            served += usize::from(ending == Ending::Whole);
        }
    }
    // The relay tells its visitors of the last ones for a moment.
    scene.relay.await_tunnels(1).await;
    let grown = scene.relay.program.memory().saturating_sub(memory);
    let left = scene.relay.program.open_files().saturating_sub(files + 4);

    let (survived, elsewhere) = attack_client().await;
    let against_client = attacks::of_relays(SocketAddr::from(([127, 0, 0, 1], 1))).len();
    Findings::new(tier)
        .count("bystanders served", served, tried)
        .hold("the relay lives", scene.relay.tunnels().await == Some(1))
        .hold("the client lives", survived)
        .count("connections of the client elsewhere", elsewhere, 0)
        .count("violations", scene.violations(), 0)
        .count("open files left", left, 0)
        .most("MiB grown", grown as f64 / 1024.0, 64.0)
        .least("attacks", (tried + against_client) as f64, 60.0)
}

/// Registers a host, plays an attack, and lets a visitor come to see what it does to it.
async fn attack_relay(relay: SocketAddr, dialect: &str, attack: &[u8]) {
    let mut link = TcpStream::connect(relay).await.unwrap();
    let handshake = handshake(relay, dialect);
    link.write_all(handshake.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let read = link.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let visit = "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let visitor = tokio::spawn(crate::scene::exchange(relay, visit.as_bytes()));
    sleep(Duration::from_millis(20)).await;
    let sending = timeout(Duration::from_secs(2), link.write_all(attack)).await;
    drop(sending);
    sleep(Duration::from_millis(20)).await;
    drop(link);
    let got = visitor.await.expect("a visitor does not panic");
    let got = got.expect("the victim's visitor hangs");
    // A whole answer, one of the relay's own, or a broken connection; but never another's header.
    let text = String::from_utf8_lossy(&got);
    assert!(got.is_empty() || text.starts_with("HTTP/1.1 "), "{text}");
    assert!(!text.contains("\r\nset-cookie: smuggled"), "{text}");
}

fn handshake(relay: SocketAddr, dialect: &str) -> String {
    let offer = match dialect {
        "ggrok.v2" => "Sec-WebSocket-Protocol: ggrok.v2\r\n",
        _ => "",
    };
    format!(
        "GET /$$ggrok?host=evil.example HTTP/1.1\r\nHost: {relay}\r\nConnection: upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {TOKEN}\r\n\
         {offer}\r\n"
    )
}

/// Plays a relay to the real client, that attacks it each time it comes. Whether the client survived, and
/// how many connections it opened to where it has no business.
async fn attack_client() -> (bool, usize) {
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let decoy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut command = Program::command("ggrok-client");
    let (server, target) = (
        format!("ws://{}", relay.local_addr().unwrap()),
        local.local_addr().unwrap().to_string(),
    );
    command.args(["--server", &server, "--token", TOKEN]);
    command.args(["--local", &target, "--json"]);
    let client = Program::start(&mut command);
    let answering = tokio::spawn(answer_all(local));
    let lure = decoy.local_addr().unwrap();
    for attack in attacks::of_relays(lure) {
        let accepting = timeout(Duration::from_secs(60), relay.accept()).await;
        let (link, _) = accepting.expect("the client does not come back").unwrap();
        welcome(link, &attack).await.ok();
    }
    sleep(Duration::from_millis(100)).await;
    let mut elsewhere = 0;
    while let Ok(Ok(_)) = timeout(Duration::from_millis(100), decoy.accept()).await {
        elsewhere += 1;
    }
    answering.abort();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", client.id()));
    // One that has ended is a zombie until somebody asks how.
    let lives = stat.is_ok_and(|stat| !stat.contains(") Z "));
    (lives, elsewhere)
}

/// Accepts a client's handshake, attacks, and reads on for a moment.
async fn welcome(mut link: TcpStream, attack: &[u8]) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(link.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let key = lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let key = key.map(|(_, key)| key).unwrap_or_default();
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: ggrok.v2\r\n\r\n"
    );
    link.write_all(answer.as_bytes()).await?;
    // One that was called comes back at once.
    link.write_all(&attacks::sound_call()).await?;
    link.write_all(attack).await?;
    let mut rest = Vec::new();
    timeout(Duration::from_millis(200), link.read_to_end(&mut rest))
        .await
        .ok();
    Ok(())
}

/// A local server that is content with everybody.
async fn answer_all(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut heard = [0; 4096];
            while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer).await.ok();
            }
        });
    }
}
