//! Programs that are frozen, as a closed lid or a debugger does, and thaw again.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::check::{Findings, Tier};
use crate::ledger::Ending;
use crate::load::Load;
use crate::program::Program;
use crate::scene::{ClientProgram, Scene};
use crate::visitor::{Ask, Door};

/// A client that is frozen for a moment delays its visitors. One that is frozen for longer is taken for
/// dead, and is back at once when it thaws.
pub async fn client(tier: Tier) -> Findings {
    let mut scene = Scene::start("ggrok.v2", &[]).await;
    let client = &scene.client.program;
    client.signal("STOP").await;
    let (door, ledger) = (scene.door.clone(), scene.ledger.clone());
    let delayed = tokio::spawn(async move { door.ask(&ledger, Ask::get(1000)).await });
    sleep(Duration::from_secs(tier.of(2, 10))).await;
    client.signal("CONT").await;
    let delayed = delayed.await.expect("a visitor does not panic");

    client.signal("STOP").await;
    let frozen = Instant::now();
    let told = scene.door.ask(&scene.ledger, Ask::get(10)).await;
    let told_after = frozen.elapsed().as_secs_f64();
    if tier == Tier::Full {
        sleep(Duration::from_secs(60).saturating_sub(frozen.elapsed())).await;
    }
    client.signal("CONT").await;
    let thawed = Instant::now();
    scene.client.await_ready().await;
    scene.await_answer().await;
    let back = thawed.elapsed().as_secs_f64();
    let refused = matches!(told, Ending::Refused(502 | 503, _));
    Findings::new(tier)
        .hold(
            "frozen for a moment: delayed only",
            delayed == Ending::Whole,
        )
        .hold("frozen for longer: visitors are told", refused)
        .count("violations", scene.violations(), 0)
        .most("told within s", told_after, 45.0)
        .most("back within s of thawing", back, 3.0)
}

/// A local server that is frozen costs its own visitors a 504 in time, and others nothing.
pub async fn origin(tier: Tier) -> Findings {
    let scene = Scene::start("ggrok.v2", &["--call-timeout", "3s"]).await;
    let (frozen, address) = separate_origin().await;
    let (directory, relay) = (&scene.directory, scene.relay.address);
    let host = "frozen.example".to_owned();
    let _client = ClientProgram::start(directory, relay, &host, address, "ggrok.v2").await;
    let door = Door {
        address: relay,
        host,
    };
    let ledger = &scene.ledger;
    let before = slowest(&scene).await;
    frozen.signal("STOP").await;
    let asked = Instant::now();
    let load = Load::start(&door, ledger, 20);
    let beside = slowest(&scene).await;
    let ending = door.ask(ledger, Ask::get(10)).await;
    let waited = asked.elapsed().as_secs_f64();
    load.finish().await;
    frozen.signal("CONT").await;
    let is_504 = matches!(ending, Ending::Refused(504, _));
    Findings::new(tier)
        .hold("its visitors get 504", is_504)
        .count("violations", scene.violations(), 0)
        .most("504 within s, of 3 s", waited, 15.0)
        .tell(format!(
            "another tunnel's p99: {before:.1} ms before, {beside:.1} ms beside it"
        ))
}

/// A local server in a process of its own, and where it listens.
async fn separate_origin() -> (Program, SocketAddr) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("GGROK_TORTURE_ORIGIN", "1");
    let mut program = Program::start(&mut command);
    let line = program.line_with("listening on ").await;
    let address = line.rsplit(' ').next().unwrap().parse().unwrap();
    (program, address)
}

/// The 99th percentile in ms of 300 small requests.
async fn slowest(scene: &Scene) -> f64 {
    let mut times = Vec::new();
    for _ in 0..300 {
        let asked = Instant::now();
        let ending = scene.door.ask(&scene.ledger, Ask::get(100)).await;
        assert_eq!(ending, Ending::Whole);
        times.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times[296]
}
