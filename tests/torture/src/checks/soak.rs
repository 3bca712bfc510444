//! Ten minutes of mixed load, with a fault that is drawn by lot every twenty seconds.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::PATIENCE;
use crate::check::{Findings, Tier};
use crate::load::Load;
use crate::scene::Scene;

/// Whatever comes, no request is lost in silence, and nothing stays open.
pub async fn check(tier: Tier) -> Findings {
    let mut scene = Scene::start("ggrok.v2", &["--grace-period", "2s"]).await;
    scene.await_answer().await;
    let files = open_files(&scene);
    let load = Load::start(&scene.door, &scene.ledger, 50);
    let mut faults = [0; 6];
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(600) {
        let fault = fastrand::usize(..6);
        faults[fault] += 1;
        play(&mut scene, fault).await;
        scene.await_answer().await;
        sleep(Duration::from_secs(20)).await;
    }
    load.finish().await;
    let started = Instant::now();
    while open_files(&scene) > files && started.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100)).await;
    }
    let left = open_files(&scene).saturating_sub(files);
    let memory = [&scene.relay.program, &scene.client.program].map(|program| program.memory());
    let [
        relay_kills,
        client_kills,
        relay_stops,
        client_freezes,
        relay_freezes,
        client_stops,
    ] = faults;
    Findings::new(tier)
        .count("violations", scene.violations(), 0)
        .count("open files left", left, 0)
        .most("MiB of the larger program", memory[0].max(memory[1]) as f64 / 1024.0, 64.0)
        .tell(format!(
            "kills: relay {relay_kills}, client {client_kills}; SIGTERM: relay {relay_stops}, client \
             {client_stops}; freezes: client {client_freezes}, relay {relay_freezes}; {}",
            scene.ledger.summary()
        ))
}

fn open_files(scene: &Scene) -> usize {
    scene.relay.program.open_files() + scene.client.program.open_files()
}

async fn play(scene: &mut Scene, fault: usize) {
    match fault {
        0 | 2 => {
            let signal = if fault == 0 { "KILL" } else { "TERM" };
            scene.relay.program.signal(signal).await;
            scene.relay.program.ended().await;
            scene.relay.again().await;
        }
        1 | 5 => {
            let signal = if fault == 1 { "KILL" } else { "TERM" };
            scene.client.program.signal(signal).await;
            scene.client.program.ended().await;
            scene.client.again().await;
        }
        frozen => {
            let program = if frozen == 3 {
                &scene.client.program
            } else {
                &scene.relay.program
            };
            program.signal("STOP").await;
            sleep(Duration::from_secs(3)).await;
            program.signal("CONT").await;
        }
    }
}
