//! The memory of request heads that are not complete.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ggrok_protocol::{Account, Memory, Reservation};

use super::activity::Phase;
use super::{Connection, Connections};
use crate::metrics::Evicted;

/// The budget of all heads.
pub(super) struct Heads {
    account: Account,
    limit: usize,
}

/// What one head has reserved of it.
#[derive(Default)]
pub(super) struct Head {
    bytes: AtomicUsize,
    reservation: Mutex<Option<Reservation>>,
}

/// Reserves memory for the heads that one connection reads.
pub(crate) struct HeadMemory {
    pub(super) connections: Connections,
    pub(super) connection: Arc<Connection>,
}

impl Heads {
    pub(super) fn new(memory: &Memory) -> Self {
        Self {
            account: memory.account(),
            limit: MOST.min(memory.limit() / SHARE),
        }
    }

    /// Returns whether there is room for so many bytes in the place of those that are reserved.
    fn grow(&self, head: &Head, bytes: usize) -> bool {
        let mut reservation = head.reservation();
        let more = bytes.saturating_sub(reservation.as_ref().map_or(0, Reservation::bytes));
        if self.account.used() + more > self.limit {
            return false;
        }
        let has_grown = match &mut *reservation {
            Some(reservation) => reservation.try_grow(more),
            none => {
                *none = self.account.try_reserve(more);
                none.is_some()
            }
        };
        if has_grown {
            head.bytes.fetch_add(more, Ordering::Relaxed);
        }
        has_grown
    }
}

impl Head {
    pub(super) fn release(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        *self.reservation() = None;
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn reservation(&self) -> MutexGuard<'_, Option<Reservation>> {
        let reservation = self.reservation.lock();
        reservation.unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeadMemory {
    /// Reserves memory for a head of which so many bytes have come. Where it is short, connections with
    /// unfinished heads are closed, of the address that has most memory of that kind. Returns whether there is
    /// enough.
    pub(crate) fn reserve(&self, come: usize) -> bool {
        if self.connection.activity.phase() != Phase::Idle {
            return true;
        }
        // The buffer that grows with a head has the size of a power of two, with room for the next read.
        let bytes = (come + NEXT_READ).next_power_of_two();
        while !self.connections.0.heads.grow(&self.connection.head, bytes) {
            if !self.connections.evict_head() {
                return false;
            }
        }
        true
    }

    /// Returns the memory.
    pub(crate) fn release(&self) {
        self.connection.head.release();
    }
}

impl Connections {
    fn evict_head(&self) -> bool {
        let mut table = self.table();
        let all = |of_address: &BTreeMap<u64, Arc<Connection>>| {
            let heads = of_address
                .values()
                .map(|connection| connection.head.bytes());
            heads.sum()
        };
        let evicted = table.evict_by(all, |connection, _| {
            let since = connection.activity.idle_since();
            since.filter(|_| connection.head.bytes() > 0)
        });
        self.count(Evicted::Memory, evicted)
    }
}

/// The bytes of a head that take no reservation: nearly all heads have fewer.
pub(crate) const UNRESERVED: usize = 16 << 10;

/// The part of the whole budget that heads may take, and the most that is of use: 512 of the largest heads.
const SHARE: usize = 4;
const MOST: usize = 64 << 20;

/// Room for the next read in a buffer.
const NEXT_READ: usize = 8 << 10;
