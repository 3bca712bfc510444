//! What a tunnel and the rest of the machine spend from a moment on.

use std::time::{Duration, Instant};

use crate::process::{Memory, Process, machine_busy};
use crate::tunnel::{Processes, Tunnel};

/// A meter that runs.
pub struct Meter {
    processes: Processes,
    since: Instant,
    busy: Duration,
    server: Duration,
    client: Duration,
    others: Duration,
}

/// What was spent.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// CPU time of the side that visitors reach.
    pub server: Duration,
    /// CPU time of the side that dials out.
    pub client: Duration,
    /// The share of the machine's CPU time that was neither the tunnel's nor the benchmark's.
    pub foreign: f64,
    pub wall: Duration,
    pub memory: BothMemories,
}

/// Memory of both sides.
#[derive(Clone, Copy, Debug)]
pub struct BothMemories {
    pub server: Memory,
    pub client: Memory,
}

impl BothMemories {
    /// Both sides' of a tunnel.
    pub fn of(processes: &Processes) -> Self {
        Self {
            server: memory(&processes.server),
            client: memory(&processes.client),
        }
    }

    /// Bytes of now.
    pub const fn now(self) -> u64 {
        self.server.now + self.client.now
    }
}

impl Spent {
    /// CPU time of both sides.
    pub fn cpu(&self) -> Duration {
        self.server + self.client
    }
}

impl Meter {
    pub fn start(tunnel: &mut Tunnel) -> Self {
        let processes = tunnel.processes();
        for process in processes.server.iter().chain(&processes.client) {
            process.forget_peak();
        }
        Self {
            since: Instant::now(),
            busy: machine_busy(),
            server: cpu(&processes.server),
            client: cpu(&processes.client),
            others: cpu(&processes.others),
            processes,
        }
    }

    pub fn stop(&self) -> Spent {
        let wall = self.since.elapsed();
        let processes = &self.processes;
        let server = cpu(&processes.server).saturating_sub(self.server);
        let client = cpu(&processes.client).saturating_sub(self.client);
        let others = cpu(&processes.others).saturating_sub(self.others);
        let busy = machine_busy().saturating_sub(self.busy);
        let foreign = busy.saturating_sub(server + client + others);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Spent {
            server,
            client,
            foreign: foreign.as_secs_f64() / (wall.as_secs_f64() * cores as f64),
            wall,
            memory: BothMemories::of(processes),
        }
    }
}

fn cpu(processes: &[Process]) -> Duration {
    processes.iter().map(|process| process.cpu()).sum()
}

fn memory(processes: &[Process]) -> Memory {
    let mut sum = Memory::default();
    for memory in processes.iter().map(|process| process.memory()) {
        sum.now += memory.now;
        sum.peak += memory.peak;
    }
    sum
}
