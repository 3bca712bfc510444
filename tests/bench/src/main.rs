//! Measures ggrok beside other tunnels, and writes the tables of `docs/benchmarks.md`.

#![allow(unreachable_pub, reason = "nothing reaches into a program")]

mod clients;
mod clock;
mod content;
mod facts;
mod figures;
mod files;
mod forwarder;
mod goals;
mod link;
mod load;
mod meter;
mod origin;
mod part;
mod peers;
mod ports;
mod process;
mod program;
mod programs;
mod report;
mod rounds;
mod scenario;
mod scenarios;
mod sizes;
mod toolchain;
mod training;
mod tunnel;
mod visitor;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use self::facts::Facts;
use self::part::Part;
use self::peers::{OURS, Peer, Places};
use self::report::Report;
use self::rounds::Plan;
use self::scenario::Scenario;
use self::sizes::Sizes;
use self::toolchain::Toolchain;

/// Measures ggrok beside other tunnels on the loopback of this machine: CPU time, memory, latency.
///
/// Prints a report in Markdown. Exits with 1 where a request through ggrok failed; speed is told, and
/// not judged.
#[derive(Parser)]
struct Cli {
    /// A part of a benchmark, for which this program starts itself
    #[command(subcommand)]
    part: Option<Part>,

    /// How often everything is measured; the report has medians
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    rounds: usize,

    /// Smaller sizes and no training, to see that everything works
    #[arg(long)]
    quick: bool,

    /// Which tunnels, with commas between them [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    tunnels: Vec<String>,

    /// Which scenarios, with commas between them [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    scenarios: Vec<String>,

    /// A TOML file with more tunnels, like peers.toml; may be given several times
    #[arg(long, value_name = "FILE")]
    more: Vec<PathBuf>,

    /// Where peers are installed [default: bench-peers in the target directory]
    #[arg(long, value_name = "DIR")]
    peers_dir: Option<PathBuf>,

    /// Install the peers that are missing, into --peers-dir
    #[arg(long)]
    install: bool,

    /// Where ggrok-server and ggrok-client are; they are built anew where it is not given
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,

    /// Build them without training, which needs llvm-profdata and takes ten minutes more
    #[arg(long, conflicts_with = "programs")]
    untrained: bool,

    /// Build them with training, print where they are, and end
    #[arg(long, conflicts_with_all = ["programs", "untrained"])]
    build: bool,

    /// Show the tunnels and scenarios, and end
    #[arg(long)]
    list: bool,

    /// Write the report into this file, between its two marks
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,

    /// Write the figures of every round into this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

// One thread: what asks must not take the machine away from what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let mut cli = Cli::parse();
    files::take_all()?;
    if let Some(part) = cli.part.take() {
        part.play().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // What runs is dropped then, and with it all that was started.
    tokio::select! {
        ended = cli.run() => ended,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
    }
}

impl Cli {
    async fn run(&self) -> anyhow::Result<ExitCode> {
        let mut peers = chosen(peers::all(&self.more)?, &self.tunnels, |peer| &peer.name)?;
        let all = scenarios::ALL.iter().collect();
        let scenarios: Vec<&'static Scenario> =
            chosen(all, &self.scenarios, |scenario| scenario.name)?;
        let sizes = if self.quick {
            Sizes::quick()
        } else {
            Sizes::full()
        };
        if self.list {
            list(&peers, &scenarios, &sizes);
            return Ok(ExitCode::SUCCESS);
        }
        if self.build {
            let directory = self.trained(&Toolchain::find()?).await?;
            println!("{}", directory.display());
            return Ok(ExitCode::SUCCESS);
        }
        let own = self.programs().await?;
        let places = Places {
            programs: own.directory,
            peers: self.peers_directory()?,
        };
        let ours = peers.iter().position(Peer::is_ours);
        if let (Some(ours), Some(directory)) = (ours, &own.untrained) {
            peers.insert(ours + 1, peers[ours].untrained(directory));
        }
        if self.install {
            for peer in &peers {
                peer.install(&places).await?;
            }
        }
        let facts = Facts::gather(&peers, &places, own.built.to_owned(), self.quick).await;
        let tunnels = facts.tunnels.iter();
        let missing = tunnels.filter(|tunnel| tunnel.version.is_none() && tunnel.name != OURS);
        let missing = missing.map(|tunnel| tunnel.name.clone()).collect();
        let plan = Plan {
            scenarios,
            missing,
            peers: &peers,
            places: &places,
            sizes: &sizes,
        };
        let tables = plan.tables();
        let mut report = Report { facts, tables };
        for round in 0..self.rounds.max(1) {
            plan.round(round, &mut report.tables).await;
            report.facts.rounds = round + 1;
            self.keep(&report, &sizes)?;
        }
        println!("{}", report.markdown(&sizes));
        let mut rows = report.tables.iter().flat_map(|table| &table.rows);
        Ok(if rows.any(|row| row.is_broken()) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    async fn programs(&self) -> anyhow::Result<Own> {
        if let Some(directory) = &self.programs {
            return Ok(Own {
                directory: programs::find(directory)?,
                built: "programs that were given",
                untrained: None,
            });
        }
        eprintln!("building ggrok-server and ggrok-client");
        let untrained = programs::build(None)?;
        if !self.untrained && !self.quick {
            match Toolchain::find() {
                Ok(toolchain) => {
                    return Ok(Own {
                        directory: self.trained(&toolchain).await?,
                        built: "released programs, trained",
                        untrained: Some(untrained),
                    });
                }
                Err(error) => eprintln!("programs are measured without training: {error:#}"),
            }
        }
        Ok(Own {
            directory: untrained,
            built: "released programs without training",
            untrained: None,
        })
    }

    async fn trained(&self, toolchain: &Toolchain) -> anyhow::Result<PathBuf> {
        training::build(toolchain, &target_directory()?.join("training")).await
    }

    /// Writes what was found so far: a run is long, and may be interrupted.
    fn keep(&self, report: &Report<'_>, sizes: &Sizes) -> anyhow::Result<()> {
        if let Some(file) = &self.json {
            let json = serde_json::to_string_pretty(report)?;
            std::fs::write(file, json).with_context(|| file.display().to_string())?;
        }
        if let Some(file) = &self.write {
            report.write(file, sizes)?;
        }
        Ok(())
    }

    fn peers_directory(&self) -> anyhow::Result<PathBuf> {
        if let Some(directory) = &self.peers_dir {
            return Ok(std::path::absolute(directory)?);
        }
        Ok(target_directory()?.join("bench-peers"))
    }
}

/// Our own programs.
struct Own {
    directory: PathBuf,
    /// How they were built, for the report.
    built: &'static str,
    /// Where those are that were not trained, to be measured beside them.
    untrained: Option<PathBuf>,
}

/// cargo's directory, which this program lies in.
fn target_directory() -> anyhow::Result<PathBuf> {
    let itself = std::env::current_exe()?;
    let target = itself.ancestors().nth(2).context("no target directory")?;
    Ok(target.to_owned())
}

/// Those of all that were asked for; all where nothing was.
fn chosen<T>(all: Vec<T>, names: &[String], name_of: fn(&T) -> &str) -> anyhow::Result<Vec<T>> {
    if let Some(name) = names
        .iter()
        .find(|name| !all.iter().any(|one| name_of(one) == *name))
    {
        let known: Vec<&str> = all.iter().map(name_of).collect();
        bail!("there is no {name}; there are {}", known.join(", "));
    }
    let is_chosen = |one: &T| names.is_empty() || names.iter().any(|name| name == name_of(one));
    Ok(all.into_iter().filter(is_chosen).collect())
}

fn list(peers: &[Peer], scenarios: &[&Scenario], sizes: &Sizes) {
    for peer in peers {
        println!("{:14} {}", peer.name, peer.about);
    }
    println!();
    for scenario in scenarios {
        println!("{:14} {}", scenario.name, (scenario.about)(sizes));
    }
}
