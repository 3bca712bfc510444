//! A relay or a client that is asked to stop: what runs is finished, what has no end is closed, and it is
//! gone in time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use crate::check::{Findings, Tier};
use crate::ledger::Ending;
use crate::scene::Scene;
use crate::visitor::{Ask, Door};

/// Running answers, an event stream and a WebSocket, and three SIGTERMs.
pub async fn check(tier: Tier) -> Findings {
    let grace = tier.of("4s", "25s");
    let mut scene = Scene::start("ggrok.v2", &["--grace-period", grace]).await;
    let running = tier.of(10, 50);
    let pause = Duration::from_secs(tier.of(2, 10));
    let answers = begin(&scene, running, pause);
    let events = endless(&scene.door, "GET /events HTTP/1.1\r\n").await;
    let upgraded = endless(&scene.door, UPGRADE).await;
    sleep(Duration::from_millis(500)).await;
    let asked = Instant::now();
    for _ in 0..3 {
        scene.relay.program.signal("TERM").await;
        sleep(Duration::from_millis(100)).await;
    }
    let status = scene
        .relay
        .program
        .ended_within(Duration::from_secs(60))
        .await;
    let gone = asked.elapsed().as_secs_f64();
    let whole = count_whole(answers).await;
    let closed = events.await.is_ok_and(|whole| !whole) && upgraded.await.is_ok();

    let mut idle = Scene::start("ggrok.v2", &[]).await;
    let asked = Instant::now();
    idle.relay.program.signal("TERM").await;
    idle.relay.program.ended().await;
    let idle = asked.elapsed().as_secs_f64();

    let mut left = Scene::start("ggrok.v2", &[]).await;
    let answers = begin(&left, running, Duration::from_secs(2));
    sleep(Duration::from_millis(500)).await;
    left.client.program.signal("TERM").await;
    let left_well = left.client.program.ended().await.success();
    let whole_behind_client = count_whole(answers).await;
    Findings::new(tier)
        .count("answers whole", whole, running)
        .count(
            "answers whole of a client that stops",
            whole_behind_client,
            running,
        )
        .hold("the client ends with 0", left_well)
        .count("violations", scene.violations() + left.violations(), 0)
        .hold("event stream and WebSocket are closed visibly", closed)
        .hold("it ends with 0", status.success())
        .most("gone within s", gone, 26.0)
        .most("gone within s when idle", idle, 1.0)
        .tell(format!("grace period {grace}, 3 SIGTERMs"))
}

/// Visitors of answers that come in two parts, with a pause between them.
fn begin(scene: &Scene, visitors: usize, pause: Duration) -> JoinSet<Ending> {
    let mut answers = JoinSet::new();
    for _ in 0..visitors {
        let (door, ledger) = (scene.door.clone(), scene.ledger.clone());
        answers.spawn(async move { door.ask(&ledger, Ask::slow(20_000, pause)).await });
    }
    answers
}

async fn count_whole(answers: JoinSet<Ending>) -> usize {
    let ended = answers.join_all().await;
    ended
        .iter()
        .filter(|ending| **ending == Ending::Whole)
        .count()
}

const UPGRADE: &str = "GET /socket HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Opens something without an end. It waits for its start, and then tells whether its end looked whole.
async fn endless(door: &Door, head: &str) -> JoinHandle<bool> {
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let request = format!("{head}Host: {}\r\n\r\n", door.host);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut got = vec![0; 4096];
    let read = stream.read(&mut got).await.unwrap();
    assert!(read > 0, "nothing came");
    got.truncate(read);
    tokio::spawn(async move {
        stream.read_to_end(&mut got).await.ok();
        got.ends_with(b"\r\n0\r\n\r\n")
    })
}
