//! The tunnels that are measured, as `peers.toml` describes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tokio::time::timeout;

use crate::program;

/// A tunnel. `peers.toml` tells what each field is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    pub name: String,
    pub about: String,
    #[serde(default)]
    pub install: Vec<String>,
    #[serde(default)]
    pub version: Vec<String>,
    pub server: Vec<String>,
    pub client: Vec<String>,
    #[serde(default)]
    pub server_env: BTreeMap<String, String>,
    #[serde(default)]
    pub client_env: BTreeMap<String, String>,
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    #[serde(default = "public_host")]
    pub host: String,
    #[serde(default)]
    pub dials: Dials,
    #[serde(default)]
    pub pinned: BTreeMap<String, u16>,
    #[serde(default)]
    pub skip: BTreeMap<String, String>,
}

/// Which of the server's ports the client dials.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Dials {
    #[default]
    ControlPort,
    PublicPort,
}

impl Dials {
    pub const fn variable(self) -> &'static str {
        match self {
            Self::ControlPort => "control_port",
            Self::PublicPort => "public_port",
        }
    }
}

/// Our own tunnel's name.
pub const OURS: &str = "ggrok";

#[derive(Deserialize)]
struct Entries {
    tunnel: Vec<Peer>,
}

/// All tunnels: those that come with the benchmark, and those of other files.
///
/// # Errors
/// What cannot be read.
pub fn all(more: &[PathBuf]) -> anyhow::Result<Vec<Peer>> {
    let mut peers = entries(include_str!("../peers.toml"))?;
    for file in more {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(|| shown.clone())?;
        for peer in entries(&text).context(shown)? {
            match peers.iter_mut().find(|known| known.name == peer.name) {
                Some(known) => *known = peer,
                None => peers.push(peer),
            }
        }
    }
    Ok(peers)
}

/// Our own two programs: together, and together in the original's dialect.
///
/// # Errors
/// What cannot be read.
pub fn own_pairs() -> anyhow::Result<Vec<Peer>> {
    let mut pairs = all(&[])?;
    pairs.extend(entries(include_str!("../originals.toml"))?);
    pairs.retain(|peer| peer.is_ours() || peer.name == "ggrok dialect");
    Ok(pairs)
}

fn entries(text: &str) -> anyhow::Result<Vec<Peer>> {
    let Entries { tunnel } = toml::from_str(text)?;
    Ok(tunnel)
}

/// Where programs are.
#[derive(Clone, Debug)]
pub struct Places {
    /// ggrok's own.
    pub programs: PathBuf,
    /// The others'.
    pub peers: PathBuf,
}

impl Places {
    /// The variables for them.
    pub fn variables(&self) -> Variables {
        let mut variables = Variables::default();
        variables.set("programs", &self.programs.display());
        variables.set("peers", &self.peers.display());
        variables
    }
}

/// What the texts of an entry may name.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<&'static str, String>);

impl Variables {
    pub fn set(&mut self, name: &'static str, value: &impl ToString) {
        self.0.insert(name, value.to_string());
    }

    /// Puts the values into a text. Other braces than theirs stay.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.0 {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
        filled
    }

    pub fn fill_all(&self, texts: &[String]) -> Vec<String> {
        texts.iter().map(|text| self.fill(text)).collect()
    }
}

impl Peer {
    /// Whether it is ours.
    pub fn is_ours(&self) -> bool {
        self.name == OURS
    }

    /// The same with programs that were not trained, which are in this directory.
    pub fn untrained(&self, directory: &Path) -> Self {
        let mut variables = Variables::default();
        variables.set("programs", &directory.display());
        Self {
            name: format!("{} untrained", self.name),
            about: "the same, as `cargo build --release` makes it".to_owned(),
            version: variables.fill_all(&self.version),
            server: variables.fill_all(&self.server),
            client: variables.fill_all(&self.client),
            ..self.clone()
        }
    }

    /// Its version; none where it is not installed.
    pub async fn version(&self, places: &Places) -> Option<String> {
        if self.version.is_empty() {
            return Some("unknown".to_owned());
        }
        let said = output(&self.version, places, VERSION_PATIENCE).await.ok()?;
        Some(version_in(&said).unwrap_or("unknown").to_owned())
    }

    /// Installs it, where its entry says how and it is not there.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn install(&self, places: &Places) -> anyhow::Result<()> {
        if self.install.is_empty() || self.version(places).await.is_some() {
            return Ok(());
        }
        let shown = places.variables().fill_all(&self.install).join(" ");
        eprintln!("installing {}: {shown}", self.name);
        std::fs::create_dir_all(&places.peers)?;
        output(&self.install, places, INSTALL_PATIENCE).await?;
        Ok(())
    }
}

/// The first word that starts with two numbers and a point between them.
fn version_in(said: &str) -> Option<&str> {
    let mut words = said.split(|c: char| c.is_whitespace() || c == '/');
    words.find(|word| {
        let mut parts = word.split('.');
        let mut is_number = || parts.next().is_some_and(|part| part.parse::<u32>().is_ok());
        is_number() && is_number()
    })
}

/// Runs a command to its end, and returns what it said.
async fn output(argv: &[String], places: &Places, patience: Duration) -> anyhow::Result<String> {
    let argv = places.variables().fill_all(argv);
    let Some((program, arguments)) = argv.split_first() else {
        bail!("there is no command for it");
    };
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.kill_on_drop(true);
    let running = timeout(patience, command.output()).await;
    let ended = running.context("it does not end")?;
    let ended = ended.with_context(|| format!("cannot run {program}"))?;
    let said = [ended.stdout, ended.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(ended.status.success(), "{program} failed: {said}");
    Ok(said)
}

/// A command of an entry, in its working directory.
pub fn command(
    argv: &[String],
    env: &BTreeMap<String, String>,
    variables: &Variables,
    work: &Path,
) -> anyhow::Result<std::process::Command> {
    let argv = variables.fill_all(argv);
    let (program, arguments) = argv.split_first().context("an entry without a program")?;
    let mut command = program::command(program);
    command.args(arguments).current_dir(work);
    for (name, value) in env {
        command.env(name, variables.fill(value));
    }
    Ok(command)
}

fn public_host() -> String {
    "127.0.0.1:{public_port}".to_owned()
}

const VERSION_PATIENCE: Duration = Duration::from_secs(10);

/// Some are compiled.
const INSTALL_PATIENCE: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Dials, OURS, Variables, all, version_in};

    #[test]
    fn knows_its_own_entries_and_takes_more() {
        let directory = tempfile::tempdir().unwrap();
        let more = directory.path().join("more.toml");
        let text = "[[tunnel]]\nname = \"bore\"\nabout = \"another\"\nserver = []\nclient = []\n\
                    [[tunnel]]\nname = \"new\"\nabout = \"one more\"\nserver = []\nclient = []\n";
        std::fs::write(&more, text).unwrap();
        let peers = all(&[more]).unwrap();
        assert_eq!(peers[0].name, OURS);
        assert_eq!(peers[0].dials, Dials::PublicPort);
        let about = |name: &str| {
            let mut found = peers.iter().filter(|peer| peer.name == name);
            (found.next().unwrap().about.clone(), found.count())
        };
        assert_eq!(about("bore"), ("another".to_owned(), 0));
        assert_eq!(about("new"), ("one more".to_owned(), 0));
    }

    #[test]
    fn untrained_programs_are_those_of_their_directory() {
        let peers = all(&[]).unwrap();
        let untrained = peers[0].untrained(Path::new("/elsewhere"));
        assert!(!untrained.is_ours(), "nothing is compared with it");
        for argv in [&untrained.version, &untrained.server, &untrained.client] {
            assert!(argv[0].starts_with("/elsewhere/ggrok-"), "{argv:?}");
        }
    }

    #[test]
    fn finds_versions() {
        assert_eq!(version_in("nginx version: nginx/1.22.1\n"), Some("1.22.1"));
        let told = "rathole\n\nBuild Timestamp: 2026-11-22T08:12:43.3Z\nBuild Version: 0.5.0\n";
        assert_eq!(version_in(told), Some("0.5.0"));
        assert_eq!(version_in("no version"), None);
    }

    #[test]
    fn fills_in_what_it_knows_and_leaves_other_braces() {
        let mut variables = Variables::default();
        variables.set("work", &"/somewhere");
        let filled = variables.fill("http { root {work}; } {unknown}");
        assert_eq!(filled, "http { root /somewhere; } {unknown}");
    }
}
