//! Breaks relays, clients and local servers under load, and says of each check whether it held.

#![allow(clippy::unwrap_used, reason = "a check that cannot go on fails")]
#![allow(unreachable_pub, reason = "nothing reaches into a program")]

mod check;
mod checks;
mod content;
mod ledger;
mod load;
mod origin;
mod record;
mod scene;
mod toxic;
mod visitor;

/// The real programs as child processes, as the scenarios have them.
#[path = "../../support/program.rs"]
#[allow(dead_code, reason = "the scenarios use all of it")]
mod program;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use futures_util::{StreamExt, stream};
use tokio::task::LocalSet;

use self::check::{Check, Report, Tier};

/// How long anything may take that is not measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kills, freezes, starves and cuts the real programs under load, and says of each check whether it
/// held: ID, PASS or FAIL, what was measured, and the limit. Exits with 1 where one failed.
#[derive(Parser)]
struct Cli {
    /// `fast` (minutes; speed is told and not judged), `full` (within an hour), or ids of checks of
    /// the full tier, like 1 or 13
    #[arg(required = true)]
    what: Vec<String>,

    /// Write what was measured into the table of docs/reliability.md
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    if origin::wanted() {
        return origin::play();
    }
    if let Some((percent, seconds)) = checks::loss::wanted() {
        return checks::loss::play(&percent, seconds);
    }
    let cli = Cli::parse();
    build_programs()?;
    let (tier, checks) = chosen(&cli.what)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let reports = runtime.block_on(LocalSet::new().run_until(run(checks, tier)));
    if let Some(file) = cli.record {
        record::write(&file, &reports)?;
    }
    let failed = reports.iter().filter(|report| !report.passed()).count();
    println!("{} checks, {failed} failed", reports.len());
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where cargo runs this, the programs beside it may be old or missing.
fn build_programs() -> anyhow::Result<()> {
    let Some(cargo) = std::env::var_os("CARGO") else {
        return Ok(());
    };
    let mut build = Command::new(cargo);
    build.args(["build", "-q", "-p", "ggrok-server", "-p", "ggrok-client"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let built = build.status().context("cannot run cargo")?;
    anyhow::ensure!(built.success(), "the programs do not build");
    Ok(())
}

fn chosen(what: &[String]) -> anyhow::Result<(Tier, Vec<Check>)> {
    let all = checks::all();
    match what {
        [tier] if tier == "full" => Ok((Tier::Full, all)),
        [tier] if tier == "fast" => {
            let fast = all.into_iter().filter(|check| check.fast).collect();
            Ok((Tier::Fast, fast))
        }
        ids => {
            let (fast, ids) = match ids.split_first() {
                Some((first, rest)) if first == "fast" => (true, rest),
                _ => (false, ids),
            };
            let tier = if fast { Tier::Fast } else { Tier::Full };
            let mut checks = Vec::new();
            for id in ids {
                match all.iter().find(|check| check.id == id) {
                    Some(check) => checks.push(check.clone()),
                    None => bail!("there is no check {id}"),
                }
            }
            Ok((tier, checks))
        }
    }
}

/// Runs checks: first those that mostly wait, several at a time, then those that need the machine.
async fn run(checks: Vec<Check>, tier: Tier) -> Vec<Report> {
    let several = |check: &Check| tier == Tier::Fast || check.waits;
    let (waiting, alone): (Vec<_>, Vec<_>) = checks.into_iter().partition(several);
    let mut reports = Vec::new();
    for (checks, at_a_time) in [(waiting, AT_A_TIME), (alone, 1)] {
        let running = checks.into_iter().map(|check| check.run(tier));
        let mut running = stream::iter(running).buffer_unordered(at_a_time);
        while let Some(report) = running.next().await {
            println!("{report}");
            reports.push(report);
        }
    }
    reports.sort_by_key(|report| report.number());
    reports
}

/// Checks that run side by side.
const AT_A_TIME: usize = 4;
