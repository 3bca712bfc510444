//! Child processes: started, ended by their ids, and asked for the CPU time and memory that they took.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use tokio::time::{sleep, timeout};

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
                let ended = self.ended();
                if let Some((_, behind)) = self.said().split_once(text)
                    && let Some((line, _)) = behind.split_once('\n')
                {
                    return Ok(line.to_owned());
                }
                ensure!(!ended, "{} ended: {}", self.name, self.last_words());
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

    /// The end of what it wrote, for the reason of a failure.
    pub fn last_words(&self) -> String {
        let said = self.said();
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or("(nothing)").chars().take(200).collect()
    }

    /// Whether it is no longer there.
    pub fn ended(&mut self) -> bool {
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
        kill(pid(self.child.id()), Signal::SIGTERM).ok();
        let asked = Instant::now();
        while !self.ended() && asked.elapsed() < FAREWELL {
            #[expect(clippy::disallowed_methods, reason = "nothing else runs at a drop")]
            std::thread::sleep(Duration::from_millis(5));
        }
        for process in &self.known {
            if process.is_there() {
                kill(pid(process.id), Signal::SIGKILL).ok();
            }
        }
        self.child.wait().ok();
    }
}

/// A process, told from a later one with its number by when it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    id: u32,
    started: u64,
}

impl Process {
    /// This process.
    pub fn own() -> Self {
        let id = std::process::id();
        let started = Stat::of(id).map_or(0, |stat| stat.started);
        Self { id, started }
    }

    fn is_there(self) -> bool {
        Stat::of(self.id).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }

    /// The CPU time, user's and system's, of all its threads, and of its children that have ended.
    pub fn cpu(self) -> Duration {
        let Some(stat) = Stat::of(self.id) else {
            return Duration::ZERO;
        };
        // The same sum as in `stat`, but not cut off at hundredths of a second.
        let clock = clock_getcpuclockid(pid(self.id)).and_then(ClockId::now);
        let own = clock.map_or(stat.own, Duration::from);
        own + stat.children
    }

    /// Bytes of memory that are its own and not swapped out, now and at their most since
    /// [`forget_peak`](Self::forget_peak).
    pub fn memory(self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        let size = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let size = line.and_then(|line| line.split_whitespace().next());
            size.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
        };
        Memory {
            now: size("VmRSS:"),
            peak: size("VmHWM:"),
        }
    }

    /// Starts the peak of its memory anew.
    pub fn forget_peak(self) {
        // Where the kernel does not let us, the peak is that since its start.
        fs::write(format!("/proc/{}/clear_refs", self.id), "5").ok();
    }
}

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub now: u64,
    pub peak: u64,
}

/// What proc_pid_stat(5) has.
struct Stat {
    state: char,
    parent: u32,
    own: Duration,
    children: Duration,
    started: u64,
}

impl Stat {
    fn of(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // Behind the name, which is in brackets, the third field is the first.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: u32::try_from(number(4)?).ok()?,
            own: ticks(number(14)? + number(15)?),
            children: ticks(number(16)? + number(17)?),
            started: number(22)?,
        })
    }
}

fn family(root: u32) -> Vec<Process> {
    let directories = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = directories.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: Vec<(Process, u32)> = ids
        .filter_map(|id| {
            let Stat {
                started, parent, ..
            } = Stat::of(id)?;
            Some((Process { id, started }, parent))
        })
        .collect();
    let root = all.iter().find(|(process, _)| process.id == root);
    let mut family: Vec<Process> = root.iter().map(|(process, _)| *process).collect();
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        let children = all.iter().filter(|(_, of)| *of == parent.id);
        family.extend(children.map(|(process, _)| *process));
        next += 1;
    }
    family
}

/// The time that the machine's processors were busy with anything, or taken away from it.
pub fn machine_busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> = line
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // proc_stat(5): user nice system idle iowait irq softirq steal.
    let busy = times.iter().take(8).enumerate();
    ticks(
        busy.filter(|(at, _)| !matches!(at, 3 | 4))
            .map(|(_, time)| time)
            .sum(),
    )
}

fn ticks(count: u64) -> Duration {
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK);
    let per_second = per_second.ok().flatten().unwrap_or(100);
    Duration::from_secs_f64(count as f64 / per_second as f64)
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
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
