//! The activity of one connection, noted as it happens and read when connections have to give way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The time of a table of connections, by which they are stamped without a look at the system's clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    ticks: AtomicU32,
    /// Counts how often any connection became idle, for the order in which they did.
    idle: AtomicU64,
}

impl Clock {
    pub(super) fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    fn ticks(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    fn next_idle(&self) -> u64 {
        self.idle.fetch_add(1, Ordering::Relaxed)
    }
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No request is under way: its head is not complete, or has not begun.
    Idle,
    /// A request is answered.
    Answering,
    /// The connection became another protocol's.
    Upgraded,
}

/// What a connection does at the moment. The default belongs to no table and is never read.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    clock: Arc<Clock>,
    phase: AtomicU8,
    /// When the phase `Idle` began, as a place in the order of all.
    idle_since: AtomicU64,
    /// The tick of the last byte in either direction.
    moved: AtomicU32,
    /// Whether the peer has still to take what was written.
    is_writing: AtomicBool,
}

impl Activity {
    pub(super) fn new(clock: &Arc<Clock>) -> Self {
        let activity = Self {
            clock: Arc::clone(clock),
            ..Self::default()
        };
        activity.moved();
        activity.idle();
        activity
    }

    /// Notes that the connection waits for a request.
    pub(crate) fn idle(&self) {
        let since = self.clock.next_idle();
        self.idle_since.store(since, Ordering::Relaxed);
        self.enter(Phase::Idle);
    }

    /// Notes that a request is complete as far as its head.
    pub(crate) fn answering(&self) {
        self.enter(Phase::Answering);
    }

    /// Notes that the connection became another protocol's.
    pub(crate) fn upgraded(&self) {
        self.enter(Phase::Upgraded);
    }

    /// Notes that the connection is served no longer and only waits for its end.
    pub(crate) fn closing(&self) {
        if self.phase() != Phase::Upgraded {
            self.idle();
        }
    }

    /// Notes that bytes were read or written.
    pub(crate) fn moved(&self) {
        self.moved.store(self.clock.ticks(), Ordering::Relaxed);
    }

    /// Notes whether a write had to wait for the peer.
    pub(crate) fn set_writing(&self, is_writing: bool) {
        self.is_writing.store(is_writing, Ordering::Relaxed);
    }

    /// Whether a write waits for the peer.
    pub(crate) fn is_writing(&self) -> bool {
        self.is_writing.load(Ordering::Relaxed)
    }

    /// When the connection became idle, in the order of all; `None` while a request is answered or its answer is not taken.
    pub(super) fn idle_since(&self) -> Option<u64> {
        let is_idle = self.phase() == Phase::Idle && !self.is_writing();
        is_idle.then(|| self.idle_since.load(Ordering::Relaxed))
    }

    /// For how many ticks no byte has moved.
    pub(super) fn stalled(&self) -> u32 {
        let moved = self.moved.load(Ordering::Relaxed);
        self.clock.ticks().wrapping_sub(moved)
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Answering,
            _ => Phase::Upgraded,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

/// The time between two ticks.
pub(crate) const TICK: Duration = Duration::from_millis(500);
