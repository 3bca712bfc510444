//! Which tunnel has which place.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ggrok_protocol::Ending;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::place::Place;
use crate::{MirrorName, Owner, Tunnel};

/// Which tunnel has which place. Clones are the same registry.
#[derive(Clone)]
pub(crate) struct Registry {
    places: Arc<RwLock<Places>>,
    /// Wakes whoever waits for a client.
    arrived: Arc<Notify>,
    /// Tunnels that may be registered at a time, and places that are remembered without one.
    most: usize,
}

/// Why a place has no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nobody ever had it, or so long ago that it is forgotten.
    Unknown,
    /// Its client is not connected.
    Offline,
}

/// Why a tunnel cannot have its places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotInserted {
    /// The relay has as many tunnels as it may.
    Full,
    /// A place belongs to another owner.
    Taken,
}

impl NotInserted {
    /// What a client is told that had been let in already.
    pub(crate) const fn ending(self) -> Ending {
        match self {
            Self::Full => Ending::GoingAway,
            Self::Taken => Ending::Replaced,
        }
    }
}

#[derive(Default)]
struct Places {
    slots: HashMap<Place, Slot>,
    /// Places whose client went away, those of the oldest registration first.
    offline: BTreeMap<Key, Place>,
    live: usize,
    generations: u64,
}

struct Slot {
    key: Key,
    holder: Holder,
}

/// A registration's number, and which of its places this is. The end of an old registration cannot
/// remove a newer one.
type Key = (u64, usize);

/// Who has a place.
enum Holder {
    Live(Tunnel),
    /// Its client went away. The place stays its owner's: visitors would trust whoever came next.
    Offline(Owner),
}

impl Holder {
    const fn live(&self) -> Option<&Tunnel> {
        match self {
            Self::Live(tunnel) => Some(tunnel),
            Self::Offline(_) => None,
        }
    }

    fn owner(&self) -> &Owner {
        match self {
            Self::Live(tunnel) => tunnel.owner(),
            Self::Offline(owner) => owner,
        }
    }
}

impl Registry {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            places: Arc::default(),
            arrived: Arc::default(),
            most,
        }
    }

    /// The tunnel that has a place now.
    pub(crate) fn tunnel(&self, place: &Place) -> Result<Tunnel, Missing> {
        let places = self.read();
        let slot = places.slots.get(place).ok_or(Missing::Unknown)?;
        let tunnel = slot.holder.live().ok_or(Missing::Offline)?;
        // One that was revoked is about to close.
        if tunnel.grant().is_over() {
            return Err(Missing::Offline);
        }
        Ok(tunnel.clone())
    }

    /// The tunnel that has a place, or will until `deadline`. Cancel-safe.
    pub(crate) async fn tunnel_by(
        &self,
        place: &Place,
        deadline: Instant,
    ) -> Result<Tunnel, Missing> {
        loop {
            // Before the look, so that no arrival is missed between the two.
            let arrived = self.arrived.notified();
            match self.tunnel(place) {
                Err(_) if Instant::now() < deadline => {
                    timeout_at(deadline, arrived).await.ok();
                }
                found => return found,
            }
        }
    }

    /// Whether one of these places has a tunnel now.
    pub(crate) fn has_any(&self, places: &[Place]) -> bool {
        let held = self.read();
        let mut slots = places.iter().filter_map(|place| held.slots.get(place));
        slots.any(|slot| slot.holder.live().is_some())
    }

    /// Whether an owner may have these places.
    pub(crate) fn check(&self, places: &[Place], owner: &Owner) -> Result<(), NotInserted> {
        self.read().check(places, owner)
    }

    /// Registers a tunnel at its places until the registration is dropped. Of one owner the newest
    /// wins: an older tunnel at one of the places is closed.
    pub(crate) fn insert(&self, tunnel: &Tunnel) -> Result<Registration, NotInserted> {
        let mut places = self.write();
        places.check(tunnel.places(), tunnel.owner())?;
        let replaced = places.live_at(tunnel.places());
        if replaced.is_empty() && places.live >= self.most {
            return Err(NotInserted::Full);
        }
        let generation = places.take(tunnel);
        drop(places);
        self.arrived.notify_waiters();
        for older in replaced {
            older.end(Ending::Replaced);
        }
        Ok(Registration {
            registry: self.clone(),
            tunnel: tunnel.clone(),
            generation,
        })
    }

    /// How many tunnels are registered.
    pub(crate) fn live(&self) -> usize {
        self.read().live
    }

    /// All tunnels that are registered, in no order.
    pub(crate) fn tunnels(&self) -> Vec<Tunnel> {
        self.read().tunnels().cloned().collect()
    }

    /// The mirrors of an owner, by their names.
    pub(crate) fn mirrors(&self, owner: &Owner) -> Vec<Tunnel> {
        let places = self.read();
        let mut mirrors: Vec<(&MirrorName, &Tunnel)> = places
            .slots
            .iter()
            .filter_map(|(place, slot)| match place {
                Place::Mirror(of, name) if of == owner => Some((name, slot.holder.live()?)),
                _ => None,
            })
            .collect();
        mirrors.sort_unstable_by_key(|(name, _)| *name);
        let mirrors = mirrors.into_iter();
        mirrors.map(|(_, tunnel)| tunnel.clone()).collect()
    }

    /// Forgets a place of this owner's that has no tunnel.
    pub(crate) fn forget(&self, owner: &Owner, place: &Place) {
        self.write().forget(owner, place);
    }

    fn read(&self) -> RwLockReadGuard<'_, Places> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Places> {
        self.places.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn check(&self, places: &[Place], owner: &Owner) -> Result<(), NotInserted> {
        let mut slots = places.iter().filter_map(|place| self.slots.get(place));
        if slots.all(|slot| slot.holder.owner() == owner) {
            Ok(())
        } else {
            Err(NotInserted::Taken)
        }
    }

    fn live_at(&self, places: &[Place]) -> Vec<Tunnel> {
        let slots = places.iter().filter_map(|place| self.slots.get(place));
        slots
            .filter_map(|slot| slot.holder.live())
            .cloned()
            .collect()
    }

    /// Every live tunnel once: at the first of its places.
    fn tunnels(&self) -> impl Iterator<Item = &Tunnel> {
        self.slots.values().filter_map(Slot::first)
    }

    /// Puts a tunnel at its places, and returns the number of that registration.
    fn take(&mut self, tunnel: &Tunnel) -> u64 {
        self.generations += 1;
        for (index, place) in tunnel.places().iter().enumerate() {
            let slot = Slot {
                key: (self.generations, index),
                holder: Holder::Live(tunnel.clone()),
            };
            if let Some(before) = self.slots.insert(place.clone(), slot) {
                self.live -= usize::from(before.first().is_some());
                self.offline.remove(&before.key);
            }
        }
        self.live += 1;
        self.generations
    }

    /// Takes the places of a tunnel offline, but those that a newer one has. Remembers so many.
    fn leave(&mut self, tunnel: &Tunnel, generation: u64, most: usize) {
        for (index, place) in tunnel.places().iter().enumerate() {
            let key = (generation, index);
            let Some(slot) = self.slots.get_mut(place).filter(|slot| slot.key == key) else {
                continue;
            };
            self.live -= usize::from(slot.first().is_some());
            slot.holder = Holder::Offline(tunnel.owner().clone());
            self.offline.insert(key, place.clone());
        }
        while self.offline.len() > most
            && let Some((_, forgotten)) = self.offline.pop_first()
        {
            self.slots.remove(&forgotten);
        }
    }

    fn forget(&mut self, owner: &Owner, place: &Place) {
        if let Some(slot) = self.slots.get(place)
            && let Holder::Offline(holder) = &slot.holder
            && holder == owner
        {
            self.offline.remove(&slot.key);
            self.slots.remove(place);
        }
    }
}

impl Slot {
    /// The live tunnel of the slot, where this is the first of its places.
    fn first(&self) -> Option<&Tunnel> {
        self.holder.live().filter(|_| self.key.1 == 0)
    }
}

/// A tunnel's places in the registry. Dropping it takes them offline, but those that a newer tunnel
/// has.
#[must_use = "a tunnel is registered only while its registration is held"]
pub(crate) struct Registration {
    registry: Registry,
    tunnel: Tunnel,
    generation: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let most = self.registry.most;
        let mut places = self.registry.write();
        places.leave(&self.tunnel, self.generation, most);
    }
}
