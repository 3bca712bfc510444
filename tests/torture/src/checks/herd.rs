//! Five hundred clients whose relay is killed, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ggrok_client::{Claim, Config, Event, Token, run};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::PATIENCE;
use crate::check::{Findings, Tier};
use crate::ledger::{Ending, Ledger};
use crate::origin::Origin;
use crate::scene::{RelayProgram, TOKEN};
use crate::visitor::{Ask, Door};

/// All of them are back soon, and each under its own host.
pub async fn check(tier: Tier) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let origin = Origin::start(ledger.clone()).await;
    let mut relay = RelayProgram::start(&directory, &["--log", "warn"]).await;
    let clients: usize = tier.of(100, 500);
    let ready = Arc::new(AtomicUsize::new(0));
    let mut herd = JoinSet::new();
    for number in 0..clients {
        let address = format!("ws://{}", relay.address).parse().unwrap();
        let mut config = Config::new(address, origin.address.to_string().parse().unwrap());
        config.claim = Claim::OtherHost(format!("h{number}.example").parse().unwrap());
        config.token = Token::new(TOKEN);
        let ready = Arc::clone(&ready);
        let observer = move |event| {
            if matches!(event, Event::Ready { .. }) {
                ready.fetch_add(1, Ordering::Relaxed);
            }
        };
        herd.spawn(run(config, observer, std::future::pending()));
    }
    relay.await_tunnels(clients).await;

    relay.program.signal("KILL").await;
    relay.program.ended().await;
    sleep(Duration::from_secs(1)).await;
    let before = ready.load(Ordering::Relaxed);
    relay.again().await;
    let started = Instant::now();
    let mut fullest = 0;
    let mut seen = before;
    let mut second = Instant::now();
    while relay.tunnels().await != Some(clients) {
        assert!(started.elapsed() < PATIENCE, "the herd does not come back");
        sleep(Duration::from_millis(20)).await;
        if second.elapsed() >= Duration::from_secs(1) {
            let now = ready.load(Ordering::Relaxed);
            fullest = fullest.max(now - seen);
            (seen, second) = (now, Instant::now());
        }
    }
    let back = started.elapsed().as_secs_f64();
    fullest = fullest.max(ready.load(Ordering::Relaxed) - seen);
    let mut whole = 0;
    for number in 0..clients {
        let door = Door {
            address: relay.address,
            host: format!("h{number}.example"),
        };
        whole += usize::from(door.ask(&ledger, Ask::get(10)).await == Ending::Whole);
    }
    herd.shutdown().await;
    Findings::new(tier)
        .count("hosts that answer", whole, clients)
        .count("violations", ledger.violations().len(), 0)
        .most("all back within s", back, 30.0)
        .tell(format!(
            "{clients} clients, {fullest} of them in the fullest second"
        ))
}
