//! Many at a time: tunnels, upgraded connections, and some that would take all for themselves.

use std::time::Duration;

use ggrok_client::{Claim, Config, Token, run};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use super::speed::{Kept, rate};
use crate::check::{Findings, Tier};
use crate::ledger::Ledger;
use crate::origin::Origin;
use crate::scene::{RelayProgram, Scene, TOKEN};
use crate::visitor::Door;

/// 200 tunnels with ten requests a second each, beside 2,000 visitors who are silent between requests.
pub async fn tunnels(tier: Tier) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let origin = Origin::start(Ledger::default()).await;
    // All visitors come from one address.
    let flags = [
        "--log",
        "warn",
        "--idle-timeout",
        "95s",
        "--per-address",
        "10000",
    ];
    let relay = RelayProgram::start(&directory, &flags).await;
    let (tunnels, seconds) = (200, 20);
    let mut clients = JoinSet::new();
    for number in 0..tunnels {
        let address = format!("ws://{}", relay.address).parse().unwrap();
        let mut config = Config::new(address, origin.address.to_string().parse().unwrap());
        config.claim = Claim::OtherHost(format!("t{number}.example").parse().unwrap());
        config.token = Token::new(TOKEN);
        clients.spawn(run(config, |_| {}, std::future::pending()));
    }
    relay.await_tunnels(tunnels).await;
    let door = |number: usize| Door {
        address: relay.address,
        host: format!("t{}.example", number % tunnels),
    };
    let mut idle = Vec::new();
    for number in 0..2000 {
        let mut kept = Kept::open(&door(number)).await;
        assert!(kept.get(10).await.is_some(), "an idle visitor gets nothing");
        idle.push(kept);
    }
    let mut visitors = JoinSet::new();
    for number in 0..tunnels {
        let door = door(number);
        visitors.spawn(async move {
            let mut kept = Kept::open(&door).await;
            let mut ticks = interval(Duration::from_millis(100));
            let mut whole = 0;
            for _ in 0..seconds * 10 {
                ticks.tick().await;
                whole += usize::from(kept.get(1000).await.is_some());
            }
            whole
        });
    }
    let whole: usize = visitors.join_all().await.into_iter().sum();
    let memory = relay.program.memory() as f64 / 1024.0;
    clients.shutdown().await;
    Findings::new(tier)
        .count("answers whole", whole, tunnels * seconds * 10)
        .most("MiB of the relay", memory, 256.0)
        .tell(format!("{seconds} s, {} idle visitors", idle.len()))
}

/// 500 upgraded connections on which ten lines a second are said back.
pub async fn upgrades(tier: Tier) -> Findings {
    let scene = Scene::start("ggrok.v2", &["--log", "warn"]).await;
    let (connections, seconds) = (500, 20);
    let mut visitors = JoinSet::new();
    for number in 0..connections {
        let door = scene.door.clone();
        visitors.spawn(async move { lines(&door, number, seconds * 10).await });
    }
    let mut times: Vec<f64> = visitors.join_all().await.into_iter().flatten().collect();
    times.sort_by(f64::total_cmp);
    let expected = connections * seconds * 10;
    let p99 = times.get(times.len() * 99 / 100).copied();
    Findings::new(tier)
        .count("lines back, in order", times.len(), expected)
        .most("p99 ms there and back", p99.unwrap_or(f64::MAX), 30.0)
        .tell(format!("{connections} connections, {seconds} s"))
}

/// Says lines, and returns for each that came back in its turn how long it took in ms.
async fn lines(door: &Door, number: usize, count: usize) -> Vec<f64> {
    let stream = TcpStream::connect(door.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    let request = format!(
        "GET /socket HTTP/1.1\r\nHost: {}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        door.host
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    let mut times = Vec::new();
    let mut ticks = interval(Duration::from_millis(100));
    for turn in 0..count {
        ticks.tick().await;
        let said = format!("{number}:{turn}\n");
        let asked = Instant::now();
        stream.write_all(said.as_bytes()).await.unwrap();
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        if line == said {
            times.push(asked.elapsed().as_secs_f64() * 1e3);
        }
    }
    times
}

/// Four visitors who take nothing of large answers and four who take all they can get, beside a hundred
/// small requests a second.
pub async fn fairness(tier: Tier) -> Findings {
    let scene = Scene::start("ggrok.v2", &["--log", "warn"]).await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        stalled.push(large(&scene.door).await);
    }
    let mut greedy = JoinSet::new();
    for _ in 0..4 {
        let door = scene.door.clone();
        greedy.spawn(async move {
            let mut stream = large(&door).await;
            let (mut taken, mut buffer) = (0_usize, vec![0; 64 << 10]);
            let started = Instant::now();
            while started.elapsed() < GREEDY {
                taken += stream.read(&mut buffer).await.unwrap();
            }
            taken as f64
        });
    }
    let mut kept = Kept::open(&scene.door).await;
    let mut times = Vec::new();
    let mut ticks = interval(Duration::from_millis(10));
    while times.len() < 900 {
        ticks.tick().await;
        let took = kept.get(100).await.expect("a small request is lost");
        times.push(took.as_secs_f64() * 1e3);
    }
    let taken = greedy.join_all().await;
    let mean = taken.iter().sum::<f64>() / 4.0;
    let spread = taken.iter().map(|taken| (taken / mean - 1.0).abs());
    times.sort_by(f64::total_cmp);
    Findings::new(tier)
        .most(
            "p99 ms of small requests",
            times[times.len() * 99 / 100],
            50.0,
        )
        .most(
            "largest share off the mean",
            spread.fold(0.0, f64::max),
            0.3,
        )
        .tell(format!(
            "{:.0} MB/s of bulk",
            mean * 4.0 / 1e6 / GREEDY.as_secs_f64()
        ))
}

const GREEDY: Duration = Duration::from_secs(10);

/// Asks for far more than is taken.
async fn large(door: &Door) -> TcpStream {
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    let request = format!("GET /bulk HTTP/1.1\r\nHost: {}\r\n\r\n", door.host);
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Three times the visitors with whom it is saturated.
pub async fn overload(tier: Tier) -> Findings {
    let scene = Scene::start("ggrok.v2", &["--log", "warn"]).await;
    let (enough, _) = rate(&scene.door, 64).await;
    let (far_more, errors) = rate(&scene.door, 192).await;
    let (after, _) = rate(&scene.door, 64).await;
    Findings::new(tier)
        .count("errors", errors, 0)
        .least("goodput of that at saturation", far_more / enough, 0.8)
        .least("rate afterwards of that before", after / enough, 0.7)
        .tell(format!(
            "{enough:.0}/s with 64 visitors, {far_more:.0}/s with 192"
        ))
}
