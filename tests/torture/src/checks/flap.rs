//! A link that goes down and comes up, again and again.

use std::time::Duration;

use tokio::time::sleep;

use crate::PATIENCE;
use crate::check::{Findings, Tier};
use crate::ledger::{Ending, Ledger};
use crate::load::Load;
use crate::origin::Origin;
use crate::scene::{ClientProgram, HOST, RelayProgram};
use crate::toxic::{Toxic, Weather};
use crate::visitor::{Ask, Door};

/// Down for 2 s, up for 3 s: no request is lost in silence, and the client comes back each time
/// without a hail of attempts.
pub async fn check(tier: Tier) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let origin = Origin::start(ledger.clone()).await;
    let relay = RelayProgram::start(&directory, &[]).await;
    let toxic = Toxic::before(relay.address).await;
    let (way, local) = (toxic.address, origin.address);
    let mut client = ClientProgram::start(&directory, way, HOST, local, "ggrok.v2").await;
    let door = Door {
        address: relay.address,
        host: HOST.to_owned(),
    };
    let load = Load::start(&door, &ledger, 20);
    let cycles = tier.of(4, 60);
    let before = toxic.accepted();
    for _ in 0..cycles {
        toxic.turn(Weather::Cut);
        sleep(Duration::from_secs(2)).await;
        toxic.turn(Weather::FAIR);
        client.await_ready().await;
        sleep(Duration::from_secs(3)).await;
    }
    let attempts = f64::from(u32::try_from(toxic.accepted() - before).unwrap());
    load.finish().await;
    assert_eq!(door.ask(&ledger, Ask::get(10)).await, Ending::Whole);
    ledger.read_relay_log(&relay.log());
    ledger.read_client_log(&client.log());
    Findings::new(tier)
        .count("violations", ledger.violations().len(), 0)
        .most("attempts a cycle", attempts / f64::from(cycles), 12.0)
        .hold("it came back each time", true)
        .tell(format!("{cycles} cycles; {}", ledger.summary()))
}

/// What a tunnel does over a long and narrow way.
pub async fn narrow(tier: Tier) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let origin = Origin::start(ledger.clone()).await;
    let relay = RelayProgram::start(&directory, &[]).await;
    let toxic = Toxic::before(relay.address).await;
    let (way, local) = (toxic.address, origin.address);
    let client = ClientProgram::start(&directory, way, HOST, local, "ggrok.v2").await;
    let door = Door {
        address: relay.address,
        host: HOST.to_owned(),
    };
    // Of 1 Mbit/s; 200 ms there and back.
    let rate = 125_000;
    toxic.turn(Weather::Open {
        delay: Duration::from_millis(100),
        rate: Some(rate),
    });
    let bytes: usize = tier.of(1_000_000, 7_500_000);
    let started = tokio::time::Instant::now();
    let ending = door.ask(&ledger, Ask::get(bytes)).await;
    let took = started.elapsed();
    assert!(took < 2 * PATIENCE, "it takes {took:?}");
    let share = bytes as f64 / took.as_secs_f64() / f64::from(rate);
    let connected = relay.log().matches("a client registered").count();
    ledger.read_client_log(&client.log());
    Findings::new(tier)
        .hold("the download is whole", ending == Ending::Whole)
        .count("connections of the client", connected, 1)
        .least("share of the link's rate", share, 0.85)
        .tell(format!("{bytes} bytes in {:.1} s", took.as_secs_f64()))
}
