//! The CPU time and the memory that processes take, and the machine as a whole.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

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

    /// Ends it at once, where it is still there.
    pub fn kill(self) {
        let is_there = |stat: Stat| stat.started == self.started && stat.state != 'Z';
        if Stat::of(self.id).is_some_and(is_there) {
            kill(pid(self.id), Signal::SIGKILL).ok();
        }
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

/// A process and all that descend from it.
pub fn family(root: u32) -> Vec<Process> {
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

/// Asks a process to end.
pub fn terminate(id: u32) {
    kill(pid(id), Signal::SIGTERM).ok();
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed())
}
