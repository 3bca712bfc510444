//! A new connection for each request.

use std::time::Duration;

use super::requests::figures;
use crate::figures::Figures;
use crate::load::afresh;
use crate::meter::Meter;
use crate::scenario::{Column, Scenario, Shape, Stage, grouped};

/// Visitors who dial, ask once, and close.
pub const SCENARIO: Scenario = Scenario {
    name: "fresh",
    about: |sizes| {
        let most = grouped(sizes.fresh);
        format!("{AT_A_TIME} visitors at a time, each dials, asks once and closes; {most} in all")
    },
    shapes: |_| vec![Shape::AsItIs],
    columns: &[
        Column::compared("cpu_us", "CPU µs a request", 1),
        Column::shown("server_us", "of the server", 1),
        Column::shown("client_us", "of the client", 1),
        Column::shown("rate", "requests/s", 0),
        Column::shown("p50_ms", "p50 ms", 2),
        Column::shown("p99_ms", "p99 ms", 2),
    ],
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage<'_>) -> anyhow::Result<Figures> {
    let mut tunnel = stage.tunnel().await?;
    let request = tunnel.door.get_and_close("/hello");
    let address = tunnel.door.address;
    let most = stage.sizes.fresh;
    afresh(address, request.clone(), AT_A_TIME, most / 20, PATIENCE).await?;
    let meter = Meter::start(&mut tunnel);
    let answers = afresh(address, request, AT_A_TIME, most, PATIENCE).await?;
    let spent = meter.stop();
    tunnel.must_live()?;
    figures(&answers, &spent)
}

const AT_A_TIME: usize = 32;

/// How long all of them may take.
const PATIENCE: Duration = Duration::from_secs(30);
