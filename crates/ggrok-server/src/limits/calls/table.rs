//! The table of the calls under way: counts them, and chooses the one that gives way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ggrok_protocol::{Account, Memory};
use slab::Slab;
use tokio::time::Instant;

use super::{Bounds, Caller, Capacity, Entry, Full};

/// The calls that are under way.
#[derive(Default)]
pub(super) struct Table {
    calls: Slab<Arc<Entry>>,
    addresses: HashMap<IpAddr, Arc<Address>>,
    tunnels: HashMap<u64, Share>,
    shares: HashMap<(u64, IpAddr), usize>,
    /// Addresses that have calls.
    active: usize,
    /// Addresses beyond which those without anything are looked for.
    sweep_at: usize,
}

/// What one address has.
pub(crate) struct Address {
    pub(super) key: IpAddr,
    pub(crate) account: Account,
    /// Changed under the table's lock alone.
    calls: AtomicUsize,
    /// Streams of HTTP/2 that are open.
    pub(crate) streams: AtomicUsize,
}

/// What the calls of a tunnel are.
#[derive(Default)]
struct Share {
    calls: usize,
    addresses: usize,
}

/// The resource that a call has to give up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    Relay,
    Memory,
    Tunnel(u64),
}

/// Whether a call gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Evicted,
    /// There are such calls, but none that has stalled for long enough yet.
    TooEarly,
    Nothing,
}

impl Table {
    /// What an address has, as long as anything refers to it.
    pub(super) fn address(&mut self, key: IpAddr, memory: &Memory) -> &Arc<Address> {
        if self.addresses.len() >= self.sweep_at && !self.addresses.contains_key(&key) {
            self.addresses.retain(|_, address| address.is_present());
            self.sweep_at = 2 * self.addresses.len() + LEAST_SWEEP;
        }
        self.addresses.entry(key).or_insert_with(|| {
            Arc::new(Address {
                key,
                account: memory.account(),
                calls: AtomicUsize::new(0),
                streams: AtomicUsize::new(0),
            })
        })
    }

    /// Counts a call.
    pub(super) fn enter(
        &mut self,
        caller: Caller,
        bounds: Bounds,
        memory: &Memory,
        start: Instant,
    ) -> Result<Arc<Entry>, Full> {
        let is_full = self.calls.len() >= bounds.calls;
        let address = Arc::clone(self.address(caller.key(), memory));
        let is_visitor = matches!(caller, Caller::Visitor(_));
        if is_visitor && address.calls() >= bounds.per_address.max(1) {
            return Err(Full::Address);
        }
        if is_full {
            return Err(Full::Relay);
        }
        let share = memory.limit() / (2 * (self.active + 1));
        let has_share = address.account.used() < share;
        if memory.free() < CALL_BYTES + WINDOW_BYTES || memory.is_short() && !has_share {
            return Err(Full::Memory);
        }
        let cost = address.account.try_reserve(CALL_BYTES);
        if address.calls.fetch_add(1, Ordering::Relaxed) == 0 {
            self.active += 1;
        }
        let entry = Entry::new(address, caller.is_told_apart(), cost, start);
        let entry = Arc::new(entry);
        let index = self.calls.insert(Arc::clone(&entry));
        entry.index.store(index, Ordering::Relaxed);
        Ok(entry)
    }

    /// Counts a call in a tunnel.
    pub(super) fn join(&mut self, entry: &Entry, capacity: Capacity) -> Result<(), Full> {
        let Capacity {
            tunnel,
            calls,
            bytes,
            free_bytes,
        } = capacity;
        let mine = (tunnel, entry.address.key);
        let has = self.shares.get(&mine).copied().unwrap_or_default();
        let share = self.tunnels.entry(tunnel).or_default();
        // An address that is the only one may take all: nobody needs the rest, and a newcomer evicts.
        let has_others = share.addresses > usize::from(has > 0);
        let is_over = entry.is_told_apart
            && has_others
            && has >= (calls / (2 * (share.addresses + 1))).max(1);
        let refused = if share.calls >= calls || share.calls >= calls - calls / 4 && is_over {
            Some(Full::Tunnel)
        } else if free_bytes < WINDOW_BYTES || free_bytes < bytes / 4 && is_over {
            Some(Full::TunnelBytes)
        } else {
            None
        };
        if let Some(full) = refused {
            if share.calls == 0 {
                self.tunnels.remove(&tunnel);
            }
            return Err(full);
        }
        share.calls += 1;
        share.addresses += usize::from(has == 0);
        *self.shares.entry(mine).or_default() += 1;
        entry.tunnel.store(tunnel, Ordering::Relaxed);
        Ok(())
    }

    /// Forgets a call.
    pub(super) fn leave(&mut self, entry: &Entry) {
        self.calls.try_remove(entry.index.load(Ordering::Relaxed));
        let address = &entry.address;
        if address.calls.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.active -= 1;
        }
        let tunnel = entry.tunnel.load(Ordering::Relaxed);
        if tunnel == 0 {
            return;
        }
        let mine = (tunnel, address.key);
        let mut is_last = false;
        if let Some(has) = self.shares.get_mut(&mine) {
            *has -= 1;
            is_last = *has == 0;
        }
        if is_last {
            self.shares.remove(&mine);
        }
        if let Some(share) = self.tunnels.get_mut(&tunnel) {
            share.calls -= 1;
            share.addresses -= usize::from(is_last);
            if share.calls == 0 {
                self.tunnels.remove(&tunnel);
            }
        }
    }

    /// Evicts a call for the sake of a newcomer's.
    pub(super) fn evict(&mut self, newcomer: IpAddr, scope: Scope, now: u64) -> Found {
        let own = self.weight(newcomer, scope);
        let margin = scope.margin();
        let half = self.all(scope) / 2;
        let mut found = Found::Nothing;
        let mut best: Option<(usize, u64, &Arc<Entry>)> = None;
        for (_, entry) in &self.calls {
            if !scope.has(entry) || entry.is_evicted() {
                continue;
            }
            let stalled = entry.stalled(now);
            let weight = self.weight(entry.address.key, scope);
            let is_greedier = entry.is_told_apart
                && entry.address.key != newcomer
                && weight >= own.saturating_add(margin);
            let has_stopped = entry.waits_for_visitor() && stalled >= STOPPED;
            if !(is_greedier || has_stopped) {
                continue;
            }
            let patience = if weight > half {
                STALLED_WITH_MOST
            } else {
                STALLED
            };
            if stalled < patience {
                found = Found::TooEarly;
                continue;
            }
            if best.is_none_or(|(most, longest, _)| (most, longest) < (weight, stalled)) {
                best = Some((weight, stalled, entry));
            }
        }
        let Some((_, _, entry)) = best else {
            return found;
        };
        entry.evict();
        Found::Evicted
    }

    /// How much all addresses have of what is short.
    fn all(&self, scope: Scope) -> usize {
        match scope {
            Scope::Relay => self.calls.len(),
            Scope::Memory => {
                let used = self.addresses.values();
                used.map(|address| address.account.used()).sum()
            }
            Scope::Tunnel(tunnel) => self.tunnels.get(&tunnel).map_or(0, |share| share.calls),
        }
    }

    /// How much an address has of what is short.
    fn weight(&self, key: IpAddr, scope: Scope) -> usize {
        let address = || self.addresses.get(&key);
        match scope {
            Scope::Relay => address().map_or(0, |address| address.calls()),
            Scope::Memory => address().map_or(0, |address| address.account.used()),
            Scope::Tunnel(tunnel) => self.shares.get(&(tunnel, key)).copied().unwrap_or(0),
        }
    }
}

impl Scope {
    /// Whether a call has anything of it.
    fn has(self, entry: &Entry) -> bool {
        match self {
            Self::Relay | Self::Memory => true,
            Self::Tunnel(tunnel) => entry.tunnel.load(Ordering::Relaxed) == tunnel,
        }
    }

    /// How much more an address must have than the newcomer's: as much as makes both alike.
    const fn margin(self) -> usize {
        match self {
            Self::Relay | Self::Tunnel(_) => 2,
            Self::Memory => 2 * (CALL_BYTES + WINDOW_BYTES),
        }
    }
}

impl Address {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether anything beside the table refers to the address.
    fn is_present(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || self.account.is_shared()
    }
}

/// What a call costs besides its window: its task, its head, and the buffers of its connection.
pub(super) const CALL_BYTES: usize = 24 << 10;

/// What the window of a call begins with.
pub(super) const WINDOW_BYTES: usize = 64 << 10;

/// Milliseconds without a byte after which a call of a greedier address may be evicted.
const STALLED: u64 = 1000;

/// The same, for an address that has more than half of everything.
const STALLED_WITH_MOST: u64 = 50;

/// Milliseconds in which a visitor sent nothing of its request, or took nothing of its response, after which
/// its call may be evicted though its address has no more than others.
const STOPPED: u64 = 30_000;

/// Addresses that are never swept.
const LEAST_SWEEP: usize = 1024;
