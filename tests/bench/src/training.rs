//! Programs that are compiled with knowledge of what they do: what is called often is laid out
//! together and inlined, what is not stays out of its way.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::figures::Outcome;
use crate::peers::{self, Places};
use crate::programs::{self, Apart};
use crate::rounds::Plan;
use crate::scenarios;
use crate::sizes::Sizes;
use crate::toolchain::Toolchain;

/// Builds programs that count, lets visitors ask through them, and builds them anew with what was
/// counted. Returns where they are, below this directory, which nobody else uses.
///
/// # Errors
/// Where they do not build, or a request fails.
pub async fn build(toolchain: &Toolchain, directory: &Path) -> anyhow::Result<PathBuf> {
    let [counts, counting, trained] =
        ["counts", "counting", "trained"].map(|name| directory.join(name));
    empty(&counts)?;
    eprintln!("training, 1 of 3: programs that count");
    let target = &toolchain.target;
    let counting = programs::build(Some(&Apart {
        directory: &counting,
        target,
        flag: format!("-Cprofile-generate={}", counts.display()),
    }))?;
    eprintln!("training, 2 of 3: visitors ask");
    train(counting).await?;
    // A program adds to the counts of its last run where it ends by itself.
    let counted = files(&counts)?;
    ensure!(counted.len() == 2, "a program has left no counts");
    let profile = directory.join("profile");
    toolchain.merge(&counted, &profile)?;
    eprintln!("training, 3 of 3: programs that have learned");
    // cargo does not see that a profile has changed.
    empty(&trained)?;
    programs::build(Some(&Apart {
        directory: &trained,
        target,
        flag: format!("-Cprofile-use={}", profile.display()),
    }))
}

/// Sends requests through programs that count.
async fn train(programs: PathBuf) -> anyhow::Result<()> {
    let places = Places {
        programs,
        peers: PathBuf::new(),
    };
    let peers = peers::own_pairs()?;
    let taught = scenarios::ALL.iter();
    let taught = taught.filter(|scenario| LESSONS.contains(&scenario.name));
    let sizes = Sizes::quick();
    let plan = Plan {
        scenarios: taught.collect(),
        peers: &peers,
        missing: Vec::new(),
        places: &places,
        sizes: &sizes,
    };
    let mut tables = plan.tables();
    plan.round(0, &mut tables).await;
    let mut rows = tables.iter().flat_map(|table| &table.rows);
    let is_broken = rows.any(|row| row.rounds.iter().any(Outcome::is_broken));
    ensure!(!is_broken, "a request failed, see above");
    Ok(())
}

/// The scenarios that tell what a relay and a client do all day.
const LESSONS: &[&str] = &["small", "seq", "fresh", "download", "upload", "tls"];

/// Makes a directory, or makes it empty.
fn empty(directory: &Path) -> anyhow::Result<()> {
    let shown = directory.display();
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {shown}"))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {shown}"))
}

fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?;
    Ok(entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?)
}
