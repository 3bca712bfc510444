//! A tunnel of which both ends keep their sockets, and through which nothing comes any more.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::PATIENCE;
use crate::check::{Findings, Tier};
use crate::ledger::{Ending, Ledger};
use crate::origin::Origin;
use crate::scene::{ClientProgram, HOST, RelayProgram};
use crate::toxic::{Toxic, Weather};
use crate::visitor::{Ask, Door};

/// Nobody waits for ever: the relay finds out by its pings, and so does the client, which comes back.
/// Nothing is left open by it.
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
    door.ask(&ledger, Ask::get(10)).await;
    let files = relay.program.open_files();
    let (mut told, mut back) = (0.0_f64, 0.0_f64);
    let rounds = tier.of(1, 10);
    for _ in 0..rounds {
        toxic.turn(Weather::Swallowed);
        let lost = Instant::now();
        let ending = door.ask(&ledger, Ask::get(10)).await;
        assert!(
            matches!(ending, Ending::Refused(502 | 503, _)),
            "{ending:?}"
        );
        told = told.max(lost.elapsed().as_secs_f64());
        // The client finds out by itself, about then: its next tries are not swallowed.
        toxic.turn(Weather::FAIR);
        client.program.line_with("\"waiting\"").await;
        let noticed = Instant::now();
        client.await_ready().await;
        back = back.max(noticed.elapsed().as_secs_f64());
        let started = Instant::now();
        while door.ask(&ledger, Ask::get(10)).await != Ending::Whole {
            assert!(
                started.elapsed() < PATIENCE,
                "the client does not come back"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
    ledger.read_relay_log(&relay.log());
    ledger.read_client_log(&client.log());
    let started = Instant::now();
    while relay.program.open_files() > files && started.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100)).await;
    }
    let left = relay.program.open_files().saturating_sub(files);
    Findings::new(tier)
        .count("violations", ledger.violations().len(), 0)
        .count("open files left", left, 0)
        .most("visitor told within s", told, 45.0)
        .most("client back within s of noticing", back, 3.0)
        .tell(format!("{rounds} times in a row"))
}
