//! The connections at the public port, and which of them gives way when a new one needs room.

mod activity;
mod heads;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ggrok_protocol::Memory;
use tokio::task::AbortHandle;

pub(crate) use self::activity::{Activity, TICK};
use self::activity::{Clock, Phase};
use self::heads::{Head, Heads};
pub(crate) use self::heads::{HeadMemory, UNRESERVED};
use crate::attempts::{counted, key};
use crate::metrics::{Evicted, Metrics, Shed};

/// All connections at the public port. Clones are the same table.
///
/// A new connection is never refused for the sake of an idle one: where all places are taken, the
/// connection that has been idle longest is closed, of the address that has most connections. Where none is
/// idle, an address that has many more connections than the newcomer's loses one that has stalled.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Shared>);

struct Shared {
    bounds: Bounds,
    metrics: Metrics,
    clock: Arc<Clock>,
    heads: Heads,
    table: Mutex<Table>,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// All places.
    pub(crate) places: usize,
    /// Further ones, for connections that have to show that they are a client's.
    pub(crate) provisional: usize,
    /// Places of one address; `None` where addresses are not told apart, as behind a router.
    pub(crate) per_address: Option<usize>,
}

#[derive(Default)]
struct Table {
    /// By address, and then in the order in which they came.
    connections: HashMap<IpAddr, BTreeMap<u64, Arc<Connection>>>,
    next: u64,
    places: usize,
    provisional: usize,
}

struct Connection {
    activity: Arc<Activity>,
    /// Written under the table's lock.
    is_provisional: AtomicBool,
    task: Mutex<Task>,
    head: Head,
}

/// The task that drives a connection.
#[derive(Default)]
struct Task {
    handle: Option<AbortHandle>,
    is_evicted: bool,
}

impl Connections {
    /// Makes an empty table. Heads take their memory out of this budget.
    pub(crate) fn new(bounds: Bounds, metrics: Metrics, memory: &Memory) -> Self {
        Self(Arc::new(Shared {
            bounds,
            metrics,
            clock: Arc::default(),
            heads: Heads::new(memory),
            table: Mutex::default(),
        }))
    }

    /// Takes a place for a connection, and evicts another where there is none left.
    ///
    /// # Errors
    /// The bound that is reached, where no connection can be evicted.
    pub(crate) fn enter(&self, peer: IpAddr) -> Result<Seat, Shed> {
        let address = self.address(peer);
        let mut table = self.table();
        let present = table.present(address);
        self.make_room(&mut table, address, present)?;
        Ok(self.seat(&mut table, address, false))
    }

    /// Lets a connection in for which there is no place, so that it can show that it is a client's. Where
    /// there are too many of these, the oldest gives way, of the address that has most connections.
    pub(crate) fn enter_provisionally(&self, peer: IpAddr) -> Seat {
        let address = self.address(peer);
        let mut table = self.table();
        if table.provisional >= self.0.bounds.provisional
            && table.evict(|connection, _| {
                let is_busy = connection.activity.phase() != Phase::Idle;
                connection.is_provisional().then_some(is_busy)
            })
        {
            self.0.metrics.counts().shed(Shed::Connections);
        }
        self.seat(&mut table, address, true)
    }

    /// Makes room for one more connection of an address that has so many.
    fn make_room(&self, table: &mut Table, address: IpAddr, present: usize) -> Result<(), Shed> {
        let Bounds {
            places,
            per_address,
            ..
        } = self.0.bounds;
        if per_address.is_some_and(|most| present >= most.max(1)) && !self.evict_of(table, address)
        {
            return Err(Shed::Address);
        }
        if table.places >= places && !self.evict_idle(table) && !self.evict_stalled(table, present)
        {
            return Err(Shed::Connections);
        }
        Ok(())
    }

    /// Counts a connection that the system had no file for.
    pub(crate) fn ran_out_of_files(&self) {
        self.0.metrics.counts().shed(Shed::Files);
    }

    /// Closes an idle connection, for the sake of its open file. Returns whether there was one.
    pub(crate) fn give_way(&self) -> bool {
        let mut table = self.table();
        self.evict_idle(&mut table)
    }

    /// Whether so many places are taken that it matters which connections have stalled.
    pub(crate) fn is_crowded(&self) -> bool {
        self.table().places > self.0.bounds.places / 2
    }

    /// Advances the time by which stalled connections are found. To be called each [`TICK`] while the places
    /// are crowded.
    pub(crate) fn tick(&self) {
        self.0.clock.tick();
    }

    /// What an address counts as.
    fn address(&self, peer: IpAddr) -> IpAddr {
        let are_told_apart = self.0.bounds.per_address.is_some();
        counted(are_told_apart.then(|| key(peer)))
    }

    fn seat(&self, table: &mut Table, address: IpAddr, is_provisional: bool) -> Seat {
        let connection = Arc::new(Connection {
            activity: Arc::new(Activity::new(&self.0.clock)),
            is_provisional: AtomicBool::new(is_provisional),
            task: Mutex::default(),
            head: Head::default(),
        });
        let id = table.insert(address, Arc::clone(&connection));
        Seat {
            connections: self.clone(),
            connection,
            address,
            id,
        }
    }

    fn evict_of(&self, table: &mut Table, address: IpAddr) -> bool {
        let evicted = table.evict_of(address, Connection::idle_since);
        self.count(Evicted::Idle, evicted)
    }

    fn evict_idle(&self, table: &mut Table) -> bool {
        let evicted = table.evict(|connection, _| connection.idle_since());
        self.count(Evicted::Idle, evicted)
    }

    /// Evicts for a newcomer whose address has so many connections.
    fn evict_stalled(&self, table: &mut Table, newcomers: usize) -> bool {
        let many = MANY.max(self.0.bounds.places / SHARE);
        let mut evict = |phase, patience: Patience| {
            table.evict(|connection, present| {
                let patience = if present >= many {
                    patience.with_many
                } else {
                    patience.usual
                };
                let stalled = connection.activity.stalled();
                let gives_way = !connection.is_provisional()
                    && present >= MANY * (newcomers + 1)
                    && connection.activity.phase() == phase
                    && stalled >= patience;
                gives_way.then_some(Reverse(stalled))
            })
        };
        let evicted = evict(Phase::Idle, STALLED)
            || evict(Phase::Answering, STALLED)
            || evict(Phase::Upgraded, SILENT);
        self.count(Evicted::Stalled, evicted)
    }

    fn count(&self, why: Evicted, evicted: bool) -> bool {
        if evicted {
            self.0.metrics.counts().evicted(why);
        }
        evicted
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn present(&self, address: IpAddr) -> usize {
        self.connections.get(&address).map_or(0, BTreeMap::len)
    }

    fn insert(&mut self, address: IpAddr, connection: Arc<Connection>) -> u64 {
        let id = self.next;
        self.next += 1;
        self.put(address, id, connection);
        id
    }

    fn put(&mut self, address: IpAddr, id: u64, connection: Arc<Connection>) {
        *self.of_kind(&connection) += 1;
        let of_address = self.connections.entry(address).or_default();
        of_address.insert(id, connection);
    }

    fn remove(&mut self, address: IpAddr, id: u64) -> Option<Arc<Connection>> {
        let of_address = self.connections.get_mut(&address)?;
        let connection = of_address.remove(&id)?;
        if of_address.is_empty() {
            self.connections.remove(&address);
        }
        *self.of_kind(&connection) -= 1;
        Some(connection)
    }

    fn of_kind(&mut self, connection: &Connection) -> &mut usize {
        if connection.is_provisional() {
            &mut self.provisional
        } else {
            &mut self.places
        }
    }

    /// Evicts the connection of the least rank, of the addresses that have most connections among those of
    /// which one has a rank. The rank may depend on how many connections the address has.
    fn evict<R: Ord>(&mut self, rank: impl Fn(&Connection, usize) -> Option<R>) -> bool {
        self.evict_by(BTreeMap::len, rank)
    }

    /// The same, of the addresses for which a measure is largest.
    fn evict_by<R: Ord>(
        &mut self,
        measure: impl Fn(&BTreeMap<u64, Arc<Connection>>) -> usize,
        rank: impl Fn(&Connection, usize) -> Option<R>,
    ) -> bool {
        let mut best: Option<(Reverse<usize>, R, u64, IpAddr)> = None;
        for (address, of_address) in &self.connections {
            let present = measure(of_address);
            // Nothing of it can be better.
            if matches!(best, Some((Reverse(most), ..)) if most > present) {
                continue;
            }
            if let Some((rank, id)) = least(of_address, |connection| rank(connection, present)) {
                let found = (Reverse(present), rank, id, *address);
                best = best.into_iter().chain([found]).min();
            }
        }
        best.is_some_and(|(_, _, id, address)| self.evict_one(address, id))
    }

    /// Evicts the connection of an address that has the least rank.
    fn evict_of<R: Ord>(
        &mut self,
        address: IpAddr,
        rank: impl Fn(&Connection) -> Option<R>,
    ) -> bool {
        let of_address = self.connections.get(&address);
        let found = of_address.and_then(|of_address| least(of_address, rank));
        found.is_some_and(|(_, id)| self.evict_one(address, id))
    }

    fn evict_one(&mut self, address: IpAddr, id: u64) -> bool {
        let evicted = self.remove(address, id);
        evicted.inspect(|connection| connection.evict()).is_some()
    }
}

/// The least rank of connections, and the oldest one that has it.
fn least<R: Ord>(
    connections: &BTreeMap<u64, Arc<Connection>>,
    rank: impl Fn(&Connection) -> Option<R>,
) -> Option<(R, u64)> {
    let connections = connections.iter();
    let ranked = connections.filter_map(|(id, connection)| Some((rank(connection)?, *id)));
    ranked.min()
}

impl Connection {
    /// Since when a connection that has a place is idle.
    fn idle_since(&self) -> Option<u64> {
        let since = self.activity.idle_since();
        since.filter(|_| !self.is_provisional())
    }

    fn is_provisional(&self) -> bool {
        self.is_provisional.load(Ordering::Relaxed)
    }

    fn evict(&self) {
        let mut task = self.task();
        task.is_evicted = true;
        if let Some(handle) = task.handle.take() {
            handle.abort();
        }
        drop(task);
        self.head.release();
    }

    fn task(&self) -> MutexGuard<'_, Task> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place among all connections, until it is dropped.
#[must_use]
pub(crate) struct Seat {
    connections: Connections,
    connection: Arc<Connection>,
    address: IpAddr,
    id: u64,
}

impl Seat {
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.connection.activity
    }

    /// Takes an ordinary place for a connection that was let in provisionally, as [`Connections::enter`] does.
    pub(crate) fn promote(&self) -> Result<(), Shed> {
        let mut table = self.connections.table();
        let present = table.present(self.address);
        let others = present.saturating_sub(1);
        self.connections
            .make_room(&mut table, self.address, others)?;
        let Some(connection) = table.remove(self.address, self.id) else {
            // It has been evicted, so that this task ends.
            return Err(Shed::Connections);
        };
        connection.is_provisional.store(false, Ordering::Relaxed);
        table.put(self.address, self.id, connection);
        Ok(())
    }

    /// Returns what reserves memory for the heads that come by the connection.
    pub(crate) fn head_memory(&self) -> HeadMemory {
        HeadMemory {
            connections: self.connections.clone(),
            connection: Arc::clone(&self.connection),
        }
    }

    /// Returns what names the task that is aborted when the connection has to give way.
    pub(crate) fn eviction(&self) -> Eviction {
        Eviction(Arc::clone(&self.connection))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.table().remove(self.address, self.id);
    }
}

/// How a connection is ended that has to give way.
pub(crate) struct Eviction(Arc<Connection>);

impl Eviction {
    /// Ends the connection.
    pub(crate) fn evict(&self) {
        self.0.evict();
    }

    /// Ends the connection by aborting this task, from now on.
    pub(crate) fn aborts(&self, handle: AbortHandle) {
        let mut task = self.0.task();
        if task.is_evicted {
            handle.abort();
        }
        task.handle = Some(handle);
    }
}

/// An address gives way with stalled connections where it has this many times more of them than the
/// newcomer's.
const MANY: usize = 4;

/// An address that has this part of all places has less patience, or a few addresses that stall would keep
/// all others out for as long as patience lasts.
const SHARE: usize = 32;

/// Ticks without a byte after which a connection counts as stalled.
#[derive(Clone, Copy)]
struct Patience {
    usual: u32,
    /// Where its address has many connections.
    with_many: u32,
}

/// While a request is answered: 30 s and 2 s.
const STALLED: Patience = Patience {
    usual: 60,
    with_many: 4,
};

/// After an upgrade: 5 min and 2 s, since such a connection may well be silent.
const SILENT: Patience = Patience {
    usual: 600,
    with_many: 4,
};

#[cfg(test)]
mod tests;
