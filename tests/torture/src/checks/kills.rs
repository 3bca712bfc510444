//! Programs that are killed under load, and started again.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::check::{Findings, Tier};
use crate::ledger::Ending;
use crate::load::Load;
use crate::scene::{DIALECTS, Scene};
use crate::visitor::Ask;

/// Visitors a second.
const RATE: (u32, u32) = (50, 200);

/// A relay that is killed and starts again a second later has its client back soon, at its address.
pub async fn relay(tier: Tier) -> Findings {
    let mut times = Vec::new();
    let (mut violations, mut told) = (0, Vec::new());
    for dialect in DIALECTS {
        let mut scene = Scene::start(dialect, &[]).await;
        let load = Load::start(&scene.door, &scene.ledger, tier.of(RATE.0, RATE.1));
        for _ in 0..tier.of(1, 10) {
            sleep(Duration::from_millis(500)).await;
            scene.relay.program.signal("KILL").await;
            scene.relay.program.ended().await;
            sleep(Duration::from_secs(1)).await;
            scene.relay.again().await;
            times.push(scene.relay.await_tunnels(1).await.as_secs_f64());
            scene.await_answer().await;
        }
        load.finish().await;
        violations += scene.violations();
        told.push(format!("{dialect}: {}", scene.ledger.summary()));
    }
    times.sort_by(f64::total_cmp);
    let nearly_all = times[(times.len() * 95).div_ceil(100) - 1];
    let worst = times.last().copied().unwrap_or_default();
    Findings::new(tier)
        .count("violations", violations, 0)
        .most("client back after s (p95)", nearly_all, 3.0)
        .most("worst s", worst, 5.0)
        .tell(format!("{} kills; {}", times.len(), told.join("; ")))
}

/// When a client is killed, its visitors are told at once; when it is back, so is the app.
pub async fn client(tier: Tier) -> Findings {
    let (mut freed, mut back) = (0.0_f64, 0.0_f64);
    let (mut violations, mut kills, mut unfreed) = (0, 0, 0);
    let mut told = Vec::new();
    for dialect in DIALECTS {
        let mut scene = Scene::start(dialect, &[]).await;
        let load = Load::start(&scene.door, &scene.ledger, tier.of(RATE.0, RATE.1));
        for _ in 0..tier.of(1, 10) {
            let mut waiting = waiting(&scene);
            sleep(Duration::from_millis(500)).await;
            scene.client.program.signal("KILL").await;
            let killed = Instant::now();
            scene.client.program.ended().await;
            while let Some(ending) = waiting.join_next().await {
                let ending = ending.expect("visitors do not panic");
                unfreed += usize::from(ending == Ending::Whole);
            }
            freed = freed.max(killed.elapsed().as_secs_f64());
            let started = Instant::now();
            scene.client.again().await;
            scene.relay.await_tunnels(1).await;
            back = back.max(started.elapsed().as_secs_f64());
            scene.await_answer().await;
            kills += 1;
        }
        load.finish().await;
        violations += scene.violations();
        told.push(format!("{dialect}: {}", scene.ledger.summary()));
    }
    Findings::new(tier)
        .count("violations", violations, 0)
        .count("calls in flight that came through", unfreed, 0)
        .most("visitors in flight told within s", freed, 1.0)
        .most("back within s of its start", back, 1.0)
        .tell(format!("{kills} kills; {}", told.join("; ")))
}

/// Visitors whose answers would take long.
fn waiting(scene: &Scene) -> JoinSet<Ending> {
    let mut waiting = JoinSet::new();
    for _ in 0..3 {
        let (door, ledger) = (scene.door.clone(), scene.ledger.clone());
        let ask = Ask::slow(1000, Duration::from_secs(20));
        waiting.spawn(async move { door.ask(&ledger, ask).await });
    }
    waiting
}
