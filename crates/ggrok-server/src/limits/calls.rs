//! Admits calls: bounds how many are under way, and evicts one where a newcomer finds no room.
//!
//! Three things may be short: the places of the relay, the places and bytes of a tunnel, and memory. While
//! there is plenty, an address may take what is free. The last quarter is kept for addresses that have less
//! than their share, in a tunnel from when more than one address calls. Where there is nothing left, the
//! address that has most gives way with the call that has stalled longest.

mod entry;
mod streams;
mod table;

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ggrok_protocol::Memory;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

pub(crate) use self::entry::{Cut, Entry};
pub(crate) use self::streams::{StreamPermit, Streams};
use self::table::{Address, Found, Scope, Table};
use crate::attempts::{counted, key};

/// Admits calls. Clones share their bounds.
#[derive(Clone)]
pub(crate) struct CallLimiter(Arc<Shared>);

struct Shared {
    bounds: Bounds,
    memory: Memory,
    table: Mutex<Table>,
    /// Calls that wait for one that was evicted to end.
    waiting: AtomicUsize,
    released: Notify,
    /// The time from which activity counts.
    start: Instant,
}

/// How many calls there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) calls: usize,
    pub(crate) per_address: usize,
}

/// What there is of a tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Tells tunnels apart.
    pub(crate) tunnel: u64,
    pub(crate) calls: usize,
    /// Bytes of bodies that it may hold, and that are left of them.
    pub(crate) bytes: usize,
    pub(crate) free_bytes: usize,
}

/// The bound for which a call is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The relay has as many calls as it may.
    Relay,
    /// The address has as many calls as it may.
    Address,
    /// Memory is short.
    Memory,
    /// The tunnel has as many calls as it may, or the rest is kept for other addresses.
    Tunnel,
    /// The tunnel holds as many bytes as it may, or the rest is kept for other addresses.
    TunnelBytes,
}

/// Whose call it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Caller {
    /// A visitor's, where the address is known.
    Visitor(Option<IpAddr>),
    /// A program's of an owner, which may well make many from one machine.
    Owner(Option<IpAddr>),
}

impl CallLimiter {
    pub(crate) fn new(bounds: Bounds, memory: Memory) -> Self {
        Self(Arc::new(Shared {
            bounds,
            memory,
            table: Mutex::default(),
            waiting: AtomicUsize::new(0),
            released: Notify::new(),
            start: Instant::now(),
        }))
    }

    /// The streams of HTTP/2 that an address has open.
    pub(crate) fn streams(&self, address: IpAddr) -> Streams {
        Streams {
            address: self.of(Some(address)),
            // Each call is one, and so is each answer that refuses one.
            most: self.0.bounds.per_address.max(1).saturating_mul(2),
        }
    }

    fn of(&self, address: Option<IpAddr>) -> Arc<Address> {
        let key = key(counted(address));
        Arc::clone(self.table().address(key, &self.0.memory))
    }

    /// Admits a call, and makes room for it where there is none. Cancel-safe.
    pub(crate) async fn enter(&self, caller: Caller) -> Result<Permit, Full> {
        let admitted = self.try_enter(caller);
        let Err(full @ (Full::Relay | Full::Memory)) = admitted else {
            return admitted;
        };
        let scope = match full {
            Full::Memory => Scope::Memory,
            _ => Scope::Relay,
        };
        let newcomer = caller.key();
        Box::pin(self.after_eviction(newcomer, scope, full, || self.try_enter(caller))).await
    }

    fn try_enter(&self, caller: Caller) -> Result<Permit, Full> {
        let Shared { bounds, memory, .. } = &*self.0;
        let mut table = self.table();
        let entry = table.enter(caller, *bounds, memory, self.0.start)?;
        drop(table);
        Ok(Permit {
            limiter: self.clone(),
            entry,
        })
    }

    /// Evicts a call, and tries again until `attempt` succeeds or the newcomer has waited long enough.
    async fn after_eviction<T>(
        &self,
        newcomer: IpAddr,
        scope: Scope,
        full: Full,
        mut attempt: impl FnMut() -> Result<T, Full>,
    ) -> Result<T, Full> {
        let _waiting = Waiting::new(&self.0.waiting);
        let deadline = Instant::now() + WAIT;
        while Instant::now() < deadline {
            if self.table().evict(newcomer, scope, self.now()) == Found::Nothing {
                return Err(full);
            }
            let step = Instant::now() + STEP;
            while timeout_at(step, self.0.released.notified()).await.is_ok() {
                match attempt() {
                    Err(again) if again == full => {}
                    result => return result,
                }
            }
            match attempt() {
                Err(again) if again == full => {}
                result => return result,
            }
        }
        Err(full)
    }

    /// Milliseconds since the start.
    fn now(&self) -> u64 {
        let elapsed = self.0.start.elapsed().as_millis();
        u64::try_from(elapsed).unwrap_or(u64::MAX)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Caller {
    fn key(self) -> IpAddr {
        match self {
            Self::Visitor(address) | Self::Owner(address) => key(counted(address)),
        }
    }

    /// Whether it is a visitor whose address is known, so that shares can be told apart.
    const fn is_told_apart(self) -> bool {
        matches!(self, Self::Visitor(Some(_)))
    }
}

/// An admitted call's place, until it is dropped.
#[must_use]
pub(crate) struct Permit {
    limiter: CallLimiter,
    entry: Arc<Entry>,
}

impl Permit {
    /// What the limiter knows of the call.
    pub(crate) const fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Takes a place in a tunnel, and makes room where there is none. Cancel-safe.
    pub(crate) async fn join(&self, capacity: impl Fn() -> Capacity + Sync) -> Result<(), Full> {
        let attempt = || self.limiter.table().join(&self.entry, capacity());
        let Err(full) = attempt() else {
            return Ok(());
        };
        let scope = Scope::Tunnel(capacity().tunnel);
        let newcomer = self.entry.address.key;
        let joining = self.limiter.after_eviction(newcomer, scope, full, attempt);
        Box::pin(joining).await
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.table().leave(&self.entry);
        let Shared {
            waiting, released, ..
        } = &*self.limiter.0;
        if waiting.load(Ordering::Relaxed) > 0 {
            released.notify_one();
        }
    }
}

/// Counts a call that waits for room.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a call waits for the room that evictions make.
const WAIT: Duration = Duration::from_millis(1500);

/// How long it waits before it evicts another.
const STEP: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
