//! Small calls beside visitors who stall in the middle of large downloads.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;

use super::requests::milliseconds;
use crate::figures::Figures;
use crate::load::{Answers, Crowd, Until};
use crate::meter::Meter;
use crate::scenario::{Column, Scenario, Shape, Stage, grouped};
use crate::visitor::Visitor;

/// What stalled neighbours do to others.
pub const SCENARIO: Scenario = Scenario {
    name: "neighbours",
    about: |sizes| {
        let calls = grouped(sizes.calls);
        format!(
            "{calls} small calls by {CALLERS} visitors, alone and then beside {STALLED} who have read \
             a little of 1 GiB and no more"
        )
    },
    shapes: |_| vec![Shape::AsItIs],
    columns: &[
        Column::shown("alone_p50_ms", "alone: p50 ms", 3),
        Column::shown("alone_p99_ms", "p99 ms", 3),
        Column::shown("beside_p50_ms", "beside them: p50 ms", 3),
        Column::compared("beside_p99_ms", "p99 ms", 3),
        Column::shown("times", "p99 ÷ alone", 2),
    ],
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage<'_>) -> anyhow::Result<Figures> {
    let mut tunnel = stage.tunnel().await?;
    let door = tunnel.door.clone();
    let requests = vec![door.get("/hello")];
    let mut callers = Crowd::open(door.address, requests, CALLERS, CALLERS).await?;
    let calls = stage.sizes.calls;
    callers.ask(Until::Asked(calls / 4)).await?;

    let meter = Meter::start(&mut tunnel);
    let alone = callers.ask(Until::Asked(calls)).await?;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut visitor = Visitor::connect(door.address).await?;
        visitor.stall(&door.get("/bytes/1073741824")).await?;
        stalled.push(visitor);
    }
    // Until every buffer on their way is full.
    sleep(FILLING).await;
    let beside = callers.ask(Until::Asked(calls)).await?;
    let spent = meter.stop();
    tunnel.must_live()?;

    let mut figures = Figures::default();
    let p99 = |answers: &Answers| milliseconds(answers.quantile(0.99));
    ensure!(alone.count() > 0 && beside.count() > 0, "no answer");
    figures.set("alone_p50_ms", milliseconds(alone.quantile(0.50)));
    figures.set("alone_p99_ms", p99(&alone));
    figures.set("beside_p50_ms", milliseconds(beside.quantile(0.50)));
    figures.set("beside_p99_ms", p99(&beside));
    figures.set("times", p99(&beside) / p99(&alone));
    figures.foreign(&spent);
    figures.count_failed(&alone);
    figures.count_failed(&beside);
    drop(stalled);
    Ok(figures)
}

const CALLERS: usize = 4;
const STALLED: usize = 4;
const FILLING: Duration = Duration::from_secs(1);
