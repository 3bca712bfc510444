//! Child processes, started and ended by their ids.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::time::{sleep, timeout};

use crate::process::{Process, family, terminate};

/// A running program. It ends when this is dropped, and so does all that it started.
pub struct Program {
    name: &'static str,
    child: Child,
    output: PathBuf,
    /// What it started, as far as that was looked at: a child whose parent has died is found here.
    known: Vec<Process>,
}

impl Program {
    /// Starts a program that writes into a file of this directory.
    ///
    /// # Errors
    /// Where it is not installed, or the file cannot be written.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let output = directory.join(format!("{name}.out"));
        let file = File::create(&output)?;
        let program = Path::new(command.get_program()).display().to_string();
        let spawned = command.stdout(file.try_clone()?).stderr(file).spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("not installed: there is no {program}")
            }
            Err(error) => return Err(error).context(program),
        };
        Ok(Self {
            name,
            child,
            output,
            known: Vec::new(),
        })
    }

    /// Waits until it has written this text, and returns the line behind it.
    ///
    /// # Errors
    /// Where it ends before, or takes too long.
    pub async fn says(&mut self, text: &str) -> anyhow::Result<String> {
        let saying = async {
            loop {
                let lives = self.must_live();
                if let Some((_, behind)) = self.said().split_once(text)
                    && let Some((line, _)) = behind.split_once('\n')
                {
                    return Ok(line.to_owned());
                }
                lives?;
                sleep(Duration::from_millis(5)).await;
            }
        };
        let said = timeout(PATIENCE, saying).await;
        said.with_context(|| format!("{} did not say {text:?}", self.name))?
    }

    fn said(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How it ended, and the end of what it wrote: the reason of a failure.
    ///
    /// # Errors
    /// That, where it has ended.
    pub fn must_live(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        let said = self.said();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        let last: String = last.unwrap_or("nothing").chars().take(200).collect();
        bail!("the {} ended, {status}; said last: {last}", self.name)
    }

    /// Whether it is no longer there.
    fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// It, and all that descend from it.
    pub fn family(&mut self) -> Vec<Process> {
        self.known = family(self.child.id());
        self.known.clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let family = family(self.child.id());
        self.known.extend(family);
        terminate(self.child.id());
        let asked = Instant::now();
        while !self.ended() && asked.elapsed() < FAREWELL {
            #[expect(clippy::disallowed_methods, reason = "nothing else runs at a drop")]
            std::thread::sleep(Duration::from_millis(5));
        }
        for process in &self.known {
            process.kill();
        }
        self.child.wait().ok();
    }
}

/// A command that takes nothing of ggrok's settings from this machine.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os() {
        let key = key.to_string_lossy().into_owned();
        if key.starts_with("GGROK_") || key.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(key);
        }
    }
    command.env_remove("PORT").env_remove("DYNO");
    command.stdin(Stdio::null());
    command
}

/// How long a program may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(2);
