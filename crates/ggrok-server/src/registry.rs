//! Which tunnel serves a host.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ggrok_protocol::{Ending, Tunnel};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::error::RelayError;
use crate::host::Host;

/// Which tunnel serves a host. Clones are the same registry.
#[derive(Clone)]
pub(crate) struct Registry {
    hosts: Arc<RwLock<Hosts>>,
    /// Wakes whoever waits for a client.
    arrived: Arc<Notify>,
    /// Tunnels that may be registered at a time.
    most: usize,
}

#[derive(Default)]
struct Hosts {
    slots: HashMap<Host, Slot>,
    /// Hosts whose client went away, oldest first, with the generation that did.
    offline: VecDeque<(Host, u64)>,
    live: usize,
    generations: u64,
}

struct Slot {
    /// Counts registrations, so that the end of an old one cannot remove a newer one.
    generation: u64,
    /// None where the client went away: such a host is offline, and not unknown.
    tunnel: Option<Tunnel>,
}

impl Registry {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            hosts: Arc::default(),
            arrived: Arc::default(),
            most,
        }
    }

    /// The tunnel that serves a host now.
    fn tunnel(&self, host: &Host) -> Result<Tunnel, RelayError> {
        match self.read().slots.get(host) {
            None => Err(RelayError::UnknownHost),
            Some(slot) => slot.tunnel.clone().ok_or(RelayError::Offline),
        }
    }

    /// The tunnel that serves a host, or will until `deadline`. Cancel-safe.
    pub(crate) async fn tunnel_by(
        &self,
        host: &Host,
        deadline: Instant,
    ) -> Result<Tunnel, RelayError> {
        loop {
            // Before the look, so that no arrival is missed between the two.
            let arrived = self.arrived.notified();
            match self.tunnel(host) {
                Err(_) if Instant::now() < deadline => {
                    timeout_at(deadline, arrived).await.ok();
                }
                found => return found,
            }
        }
    }

    /// Whether the host has a tunnel now.
    pub(crate) fn is_taken(&self, host: &Host) -> bool {
        let hosts = self.read();
        hosts
            .slots
            .get(host)
            .is_some_and(|slot| slot.tunnel.is_some())
    }

    /// Registers a tunnel until the registration is dropped. The newest wins: an older tunnel of
    /// the host is closed. Fails where the relay has as many tunnels as it may.
    pub(crate) fn insert(&self, host: Host, tunnel: Tunnel) -> Result<Registration, RelayError> {
        let mut hosts = self.write();
        let replaced = hosts.slots.get(&host).and_then(|slot| slot.tunnel.clone());
        if replaced.is_none() {
            if hosts.live >= self.most {
                return Err(RelayError::TooManyTunnels);
            }
            hosts.live += 1;
        }
        hosts.generations += 1;
        let generation = hosts.generations;
        let slot = Slot {
            generation,
            tunnel: Some(tunnel),
        };
        hosts.slots.insert(host.clone(), slot);
        hosts.offline.retain(|(offline, _)| *offline != host);
        drop(hosts);
        self.arrived.notify_waiters();
        if let Some(replaced) = replaced {
            replaced.close(Ending::Replaced);
        }
        Ok(Registration {
            registry: self.clone(),
            host,
            generation,
        })
    }

    /// How many tunnels are registered.
    pub(crate) fn live(&self) -> usize {
        self.read().live
    }

    /// Does something with each tunnel.
    pub(crate) fn each(&self, act: impl Fn(&Tunnel)) {
        self.read()
            .slots
            .values()
            .filter_map(|slot| slot.tunnel.as_ref())
            .for_each(act);
    }

    fn remove(&self, host: &Host, generation: u64) {
        let mut hosts = self.write();
        let Some(slot) = hosts.slots.get_mut(host) else {
            return;
        };
        if slot.generation != generation {
            return;
        }
        slot.tunnel = None;
        hosts.live -= 1;
        hosts.offline.push_back((host.clone(), generation));
        if hosts.offline.len() > OFFLINE_KEPT {
            hosts.forget_oldest();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Hosts> {
        self.hosts.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Hosts> {
        self.hosts.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hosts {
    /// Forgets the host that has been offline for longest, unless its client has come back.
    fn forget_oldest(&mut self) {
        let Some((host, generation)) = self.offline.pop_front() else {
            return;
        };
        if self.slots.get(&host).map(|slot| slot.generation) == Some(generation) {
            self.slots.remove(&host);
        }
    }
}

/// Offline hosts that are remembered, so that their visitors learn that they may come back.
const OFFLINE_KEPT: usize = 1000;

/// A tunnel's place in the registry. Dropping it takes the host offline, unless a newer tunnel
/// has the place.
#[must_use = "a tunnel is registered only while its registration is held"]
pub(crate) struct Registration {
    registry: Registry,
    host: Host,
    generation: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.remove(&self.host, self.generation);
    }
}
