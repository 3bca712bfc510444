//! What HTTP asks of those in the middle, case by case, between raw sockets at both ends.

mod aborts;
mod bodies;
mod connections;
mod fields;
mod forwarding;
mod interim;
mod lengths;
mod play;
mod request_line;
mod responses;
mod table;
mod upgrades;

use std::pin::Pin;

use ggrok_protocol::Dialect;
use tokio::task::{JoinSet, LocalSet, spawn_local};

use crate::support::{DIALECTS, Stage};

/// One obligation.
struct Case {
    number: u8,
    /// The RFC and its section.
    rfc: &'static str,
    title: &'static str,
    /// The dialects in which it does not hold, and why. The case shows what happens there instead.
    not_in: &'static [Dialect],
    remark: &'static str,
    run: Box<dyn Fn(Stage) -> Running>,
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

/// A case that holds in every dialect.
fn case<F>(number: u8, rfc: &'static str, title: &'static str, run: fn(Stage) -> F) -> Case
where
    F: Future<Output = ()> + 'static,
{
    Case {
        number,
        rfc,
        title,
        not_in: &[],
        remark: "",
        run: Box::new(move |stage| Box::pin(run(stage))),
    }
}

impl Case {
    fn remark(self, remark: &'static str) -> Self {
        Self { remark, ..self }
    }

    /// It does not hold in the originals' dialects.
    fn not_in_unary(self, why: &'static str) -> Self {
        let not_in = &[Dialect::Ggrok, Dialect::MagicMirror];
        Self { not_in, ..self }.remark(why)
    }

    /// It does not hold in magic-mirror's dialect.
    fn not_in_magic_mirror(self, why: &'static str) -> Self {
        let not_in = &[Dialect::MagicMirror];
        Self { not_in, ..self }.remark(why)
    }

    /// It holds nowhere.
    fn nowhere(self, why: &'static str) -> Self {
        let not_in = &DIALECTS;
        Self { not_in, ..self }.remark(why)
    }

    fn holds_in(&self, dialect: Dialect) -> bool {
        !self.not_in.contains(&dialect)
    }
}

/// A heading, and the cases under it.
type Section = (&'static str, Vec<Case>);

fn sections() -> Vec<Section> {
    vec![
        ("Request line, target and Host", request_line::cases()),
        ("Fields", fields::cases()),
        ("Connections", connections::cases()),
        ("Bodies of requests", lengths::cases()),
        ("Bodies of responses", bodies::cases()),
        ("Responses", responses::cases()),
        (
            "Interim responses, expectations, early answers",
            interim::cases(),
        ),
        ("Aborts, retries, time", aborts::cases()),
        ("What is told of the way", forwarding::cases()),
        ("Upgrades", upgrades::cases()),
    ]
}

#[tokio::test]
async fn every_case_goes_as_the_table_says() {
    let failed = LocalSet::new().run_until(play_all()).await;
    assert!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
}

/// Plays every case in every dialect, and returns the names of those that failed.
async fn play_all() -> Vec<String> {
    let mut running = JoinSet::new();
    let mut failed = Vec::new();
    for case in sections().iter().flat_map(|(_, cases)| cases) {
        for dialect in DIALECTS {
            while running.len() >= AT_ONCE {
                failed.extend(finished(&mut running).await);
            }
            let name = format!("case {} {dialect}", case.number);
            let played = spawn_local((case.run)(Stage::new(dialect).await));
            running.spawn_local(async move { (name, played.await.is_ok()) });
        }
    }
    while !running.is_empty() {
        failed.extend(finished(&mut running).await);
    }
    failed
}

/// Cases that are played at a time.
const AT_ONCE: usize = 16;

/// Waits until one has been played, and returns its name where it failed.
async fn finished(running: &mut JoinSet<(String, bool)>) -> Option<String> {
    let (name, ok) = running.join_next().await?.unwrap();
    println!("{name} {}", if ok { "ok" } else { "FAILED" });
    (!ok).then_some(name)
}
