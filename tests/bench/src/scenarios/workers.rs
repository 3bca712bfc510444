//! Worker threads, where the programs have a setting for them.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

use super::requests::measure;
use crate::figures::{Figures, Skipped};
use crate::scenario::{Column, Scenario, Shape, Stage};
use crate::tunnel::{Setup, Tunnel};

/// One worker, or two, on both sides.
pub const SCENARIO: Scenario = Scenario {
    name: "workers",
    about: |_| "`small` with one worker thread on both sides, and with two".to_owned(),
    shapes: |_| vec![Shape::Workers(1), Shape::Workers(2)],
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
    let Shape::Workers(count) = stage.shape else {
        anyhow::bail!("no number of workers");
    };
    for program in ["ggrok-server", "ggrok-client"] {
        let path = stage.places.programs.join(program);
        if !has_workers(&path).await? {
            return Err(Skipped(format!("{program} has no --workers")).into());
        }
    }
    let setup = Setup {
        flags: vec!["--workers".to_owned(), count.to_string()],
        ..stage.setup()
    };
    let mut tunnel = Tunnel::start(&setup).await?;
    let requests = vec![tunnel.door.get("/hello")];
    measure(&mut tunnel, requests, 64, stage.sizes).await
}

async fn has_workers(program: &Path) -> anyhow::Result<bool> {
    let mut help = Command::new(program);
    help.arg("--help").stdin(Stdio::null()).kill_on_drop(true);
    let told = help.output().await.context("cannot ask for help")?;
    Ok(String::from_utf8_lossy(&told.stdout).contains("--workers"))
}
