//! Where and of what the figures are.

use std::fs;
use std::process::Command;
use std::time::SystemTime;

use serde::Serialize;

use crate::peers::{Peer, Places};

/// What has to be known besides the figures.
#[derive(Serialize)]
pub struct Facts {
    pub date: String,
    pub commit: String,
    pub programs: String,
    pub machine: String,
    /// So far.
    pub rounds: usize,
    pub quick: bool,
    pub tunnels: Vec<Measured>,
}

/// A tunnel that was measured.
#[derive(Serialize)]
pub struct Measured {
    pub name: String,
    /// None where it is not installed.
    pub version: Option<String>,
    pub about: String,
}

impl Facts {
    pub async fn gather(peers: &[Peer], places: &Places, programs: String, quick: bool) -> Self {
        let mut tunnels = Vec::new();
        for peer in peers {
            tunnels.push(Measured {
                name: peer.name.clone(),
                version: peer.version(places).await,
                about: peer.about.clone(),
            });
        }
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let date = now.split('T').next().unwrap_or_default().to_owned();
        Self {
            date,
            commit: commit(),
            programs,
            machine: machine(),
            rounds: 0,
            quick,
            tunnels,
        }
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        let told = git.output().ok().filter(|told| told.status.success())?;
        Some(String::from_utf8_lossy(&told.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    // Only what the programs are made of: the report itself is about to change.
    match git(&[
        "status",
        "--porcelain",
        "--",
        "../../crates",
        "../../Cargo.toml",
    ])
    .as_deref()
    {
        Some("") => commit,
        _ => format!("{commit}, changed"),
    }
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(':'));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let memory = read("/proc/meminfo");
    let total = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|line| line.split_whitespace().next());
    let gib = kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1048576.0;
    format!(
        "{model}, {cores} cores, {gib:.0} GiB, Linux {}",
        kernel.trim()
    )
}
