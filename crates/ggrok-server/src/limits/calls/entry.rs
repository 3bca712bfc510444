//! What the limiter knows of one call.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use ggrok_protocol::{Account, Reservation};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::table::Address;
use crate::limits::connections::Eviction;

/// What ends a call whose response has begun.
pub(crate) enum Cut {
    /// The task of its stream.
    Stream(AbortHandle),
    /// Its connection.
    Connection(Eviction),
}

/// What the limiter knows of one call: whose it is, when something last moved, and how it is ended.
pub(crate) struct Entry {
    pub(super) address: Arc<Address>,
    /// Whether the address is a visitor's, and known.
    pub(super) is_told_apart: bool,
    /// Its place in the table.
    pub(super) index: AtomicUsize,
    /// The tunnel that it has a place in, or 0.
    pub(super) tunnel: AtomicU64,
    /// When something last moved, in milliseconds.
    moved: AtomicU64,
    /// The time from which that counts.
    start: Instant,
    /// Whether the visitor is waited for: for more of the request, or to take the response.
    sends_slowly: AtomicBool,
    reads_slowly: AtomicBool,
    is_evicted: AtomicBool,
    waker: AtomicWaker,
    /// The task to end once the response has begun.
    cut: OnceLock<Cut>,
    /// What every call costs.
    pub(super) _cost: Option<Reservation>,
}

impl Entry {
    pub(super) fn new(
        address: Arc<Address>,
        is_told_apart: bool,
        cost: Option<Reservation>,
        start: Instant,
    ) -> Self {
        let entry = Self {
            address,
            is_told_apart,
            index: AtomicUsize::new(usize::MAX),
            tunnel: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            start,
            sends_slowly: AtomicBool::new(false),
            reads_slowly: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            cut: OnceLock::new(),
            _cost: cost,
        };
        entry.moved();
        entry
    }

    /// The account in which memory for the call is reserved.
    pub(crate) fn account(&self) -> &Account {
        &self.address.account
    }

    /// Notes that bytes of the call moved.
    pub(crate) fn moved(&self) {
        self.moved.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes whether more of the request is waited for.
    pub(crate) fn waits_for_request(&self, waits: bool) {
        self.sends_slowly.store(waits, Ordering::Relaxed);
    }

    /// Notes whether the visitor has something to take of the response.
    pub(crate) fn waits_for_reader(&self, waits: bool) {
        self.reads_slowly.store(waits, Ordering::Relaxed);
    }

    pub(super) fn waits_for_visitor(&self) -> bool {
        self.sends_slowly.load(Ordering::Relaxed) || self.reads_slowly.load(Ordering::Relaxed)
    }

    /// Milliseconds since something moved.
    pub(super) fn stalled(&self, now: u64) -> u64 {
        now.saturating_sub(self.moved.load(Ordering::Relaxed))
    }

    /// Says what ends the call from now on.
    pub(crate) fn ends_by(&self, cut: Cut) {
        if self.is_evicted() {
            cut.end();
        }
        self.cut.set(cut).ok();
    }

    /// Whether the call has to give way to another.
    pub(crate) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    pub(super) fn evict(&self) {
        self.is_evicted.store(true, Ordering::Relaxed);
        self.waker.wake();
        if let Some(cut) = self.cut.get() {
            cut.end();
        }
    }

    /// Waits for the eviction of the call.
    pub(crate) fn poll_evicted(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.is_evicted() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Cut {
    fn end(&self) {
        match self {
            Self::Stream(task) => task.abort(),
            Self::Connection(connection) => connection.evict(),
        }
    }
}
