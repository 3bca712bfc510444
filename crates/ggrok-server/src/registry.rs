//! Which tunnel has which place.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ggrok_protocol::Ending;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::place::Place;
use crate::{MirrorName, Owner, Tunnel};

/// Which tunnel has which place. Clones are the same registry.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    places: Arc<RwLock<Places>>,
    /// Wakes whoever waits for a client.
    arrived: Arc<Notify>,
    /// Tunnels that may be registered at a time, and as many that are remembered.
    most: usize,
    /// Tunnels that one owner may have at a time.
    most_of_one: usize,
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

#[derive(Debug, Default)]
struct Places {
    slots: HashMap<Place, Slot>,
    owners: HashMap<Owner, Belongings>,
    /// Tunnels that are registered.
    live: usize,
    /// Registrations that are remembered without a tunnel.
    offline: usize,
    /// Counts what happens, so that each has a number of its own.
    events: u64,
}

/// What an owner has.
#[derive(Debug, Default)]
struct Belongings {
    live: usize,
    /// The places of each tunnel that went away, by when it did.
    offline: BTreeMap<u64, Vec<Place>>,
}

#[derive(Debug)]
struct Slot {
    /// The number of the registration, so that the end of an old one cannot remove a newer one.
    number: u64,
    /// Whether it is the first of its tunnel's places.
    is_first: bool,
    holder: Holder,
}

/// Who has a place.
#[derive(Debug)]
enum Holder {
    Live(Tunnel),
    /// Its client went away, at this event. The place stays its owner's: visitors would trust
    /// whoever came next.
    Offline(Owner, u64),
}

impl Holder {
    const fn live(&self) -> Option<&Tunnel> {
        match self {
            Self::Live(tunnel) => Some(tunnel),
            Self::Offline(..) => None,
        }
    }

    fn owner(&self) -> &Owner {
        match self {
            Self::Live(tunnel) => tunnel.owner(),
            Self::Offline(owner, _) => owner,
        }
    }
}

impl Registry {
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self {
            places: Arc::default(),
            arrived: Arc::default(),
            most,
            most_of_one,
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

    /// Whether a place is an owner's, be its client here or away.
    pub(crate) fn is_of(&self, place: &Place, owner: &Owner) -> bool {
        let places = self.read();
        let slot = places.slots.get(place);
        slot.is_some_and(|slot| slot.holder.owner() == owner)
    }

    /// Registers a tunnel at its places until the registration is dropped. Of one owner the newest
    /// wins: an older tunnel at one of the places is closed.
    pub(crate) fn insert(&self, tunnel: &Tunnel) -> Result<Registration, NotInserted> {
        let mut places = self.write();
        places.check(tunnel.places(), tunnel.owner())?;
        let replaced = places.live_at(tunnel.places());
        let owned = places
            .owners
            .get(tunnel.owner())
            .map_or(0, |owner| owner.live);
        let is_full = places.live >= self.most || owned >= self.most_of_one;
        if replaced.is_empty() && is_full {
            return Err(NotInserted::Full);
        }
        let number = places.take(tunnel);
        drop(places);
        self.arrived.notify_waiters();
        for older in replaced {
            older.end(Ending::Replaced);
        }
        Ok(Registration {
            registry: self.clone(),
            tunnel: tunnel.clone(),
            number,
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

    fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Puts a tunnel at its places, and returns the number of that registration.
    fn take(&mut self, tunnel: &Tunnel) -> u64 {
        let number = self.next_event();
        for (index, place) in tunnel.places().iter().enumerate() {
            let slot = Slot {
                number,
                is_first: index == 0,
                holder: Holder::Live(tunnel.clone()),
            };
            if let Some(before) = self.slots.insert(place.clone(), slot) {
                self.vacate(place, &before);
            }
        }
        self.live += 1;
        let owner = self.owners.entry(tunnel.owner().clone());
        owner.or_default().live += 1;
        number
    }

    /// Settles the accounts of a slot that is no longer at its place.
    fn vacate(&mut self, place: &Place, slot: &Slot) {
        if slot.first().is_some() {
            self.live -= 1;
        }
        let owner = slot.holder.owner();
        let Some(belongings) = self.owners.get_mut(owner) else {
            return;
        };
        if slot.first().is_some() {
            belongings.live -= 1;
        }
        if let Holder::Offline(_, since) = &slot.holder
            && let Some(places) = belongings.offline.get_mut(since)
        {
            places.retain(|other| other != place);
            if places.is_empty() {
                belongings.offline.remove(since);
                self.offline -= 1;
            }
        }
        if belongings.live == 0 && belongings.offline.is_empty() {
            self.owners.remove(owner);
        }
    }

    /// Takes the places of a tunnel offline, but those that a newer one has. Remembers so many.
    fn leave(&mut self, tunnel: &Tunnel, number: u64, most: usize) {
        let since = self.next_event();
        let mut left = Vec::new();
        for place in tunnel.places() {
            let Some(slot) = self
                .slots
                .get_mut(place)
                .filter(|slot| slot.number == number)
            else {
                continue;
            };
            let before = Slot {
                holder: std::mem::replace(
                    &mut slot.holder,
                    Holder::Offline(tunnel.owner().clone(), since),
                ),
                ..*slot
            };
            self.vacate(place, &before);
            left.push(place.clone());
        }
        if !left.is_empty() {
            let owner = self.owners.entry(tunnel.owner().clone());
            owner.or_default().offline.insert(since, left);
            self.offline += 1;
        }
        while self.offline > most {
            self.forget_one();
        }
    }

    /// Forgets what went away first, of the owner who has most of that: nobody can make the relay
    /// forget what is another's.
    fn forget_one(&mut self) {
        let owners = self.owners.values_mut();
        let most = owners.max_by_key(|owner| owner.offline.len());
        let Some((_, places)) = most.and_then(|owner| owner.offline.pop_first()) else {
            return;
        };
        self.offline -= 1;
        for place in places {
            if let Some(slot) = self.slots.remove(&place) {
                self.vacate(&place, &slot);
            }
        }
    }

    fn forget(&mut self, owner: &Owner, place: &Place) {
        if let Some(slot) = self.slots.get(place)
            && matches!(&slot.holder, Holder::Offline(holder, _) if holder == owner)
            && let Some(slot) = self.slots.remove(place)
        {
            self.vacate(place, &slot);
        }
    }
}

impl Slot {
    /// The live tunnel of the slot, where this is the first of its places.
    fn first(&self) -> Option<&Tunnel> {
        self.holder.live().filter(|_| self.is_first)
    }
}

/// A tunnel's places in the registry. Dropping it takes them offline, but those that a newer tunnel
/// has.
#[derive(Debug)]
#[must_use = "a tunnel is registered only while its registration is held"]
pub(crate) struct Registration {
    registry: Registry,
    tunnel: Tunnel,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let most = self.registry.most;
        let mut places = self.registry.write();
        places.leave(&self.tunnel, self.number, most);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use ggrok_protocol::{Dialect, Limits, open};

    use super::{Missing, NotInserted, Registration, Registry};
    use crate::place::Place;
    use crate::seen::Seen;
    use crate::tunnel::Registered;
    use crate::{Grant, Owner, Tunnel};

    fn mirror(owner: &str, name: &str) -> Place {
        Place::Mirror(Owner::new(owner), name.parse().unwrap())
    }

    fn insert(registry: &Registry, places: &[Place]) -> Result<Registration, NotInserted> {
        let Some(Place::Mirror(owner, _)) = places.first() else {
            panic!("the owner is the mirror's");
        };
        let (line, _) = open(Dialect::V2, Limits::default());
        registry.insert(&Tunnel::new(
            line,
            Registered {
                grant: Grant::new(owner.clone()),
                places: places.to_vec(),
                dialect: Dialect::V2,
                peer: None,
                since: SystemTime::now(),
                seen: Seen::now(),
                door: None,
            },
        ))
    }

    #[test]
    fn forgets_nothing_of_an_owner_for_anothers_sake() {
        let registry = Registry::new(3, 10);
        let host = Place::Host("blog.example".parse().unwrap());
        drop(insert(&registry, &[mirror("ana", "blog"), host.clone()]));
        for name in ["a", "b", "c", "d", "e"] {
            drop(insert(&registry, &[mirror("ben", name)]));
        }
        assert_eq!(
            registry.tunnel(&mirror("ana", "blog")),
            Err(Missing::Offline)
        );
        let taken = insert(&registry, &[mirror("ben", "blog"), host]);
        assert_eq!(taken.err(), Some(NotInserted::Taken));
        for (name, why) in [
            ("a", Missing::Unknown),
            ("c", Missing::Unknown),
            ("e", Missing::Offline),
        ] {
            assert_eq!(registry.tunnel(&mirror("ben", name)), Err(why), "{name}");
        }
    }

    #[test]
    fn counts_each_tunnel_once_whatever_it_replaces() {
        let registry = Registry::new(10, 2);
        let host = Place::Host("blog.example".parse().unwrap());
        let both = insert(&registry, &[mirror("ana", "blog"), host]).unwrap();
        let again = insert(&registry, &[mirror("ana", "blog")]).unwrap();
        assert_eq!(registry.live(), 1);
        drop(both);
        assert_eq!(registry.live(), 1);
        let _second = insert(&registry, &[mirror("ana", "x")]).unwrap();
        let third = insert(&registry, &[mirror("ana", "y")]);
        assert_eq!(third.err(), Some(NotInserted::Full));
        let _other = insert(&registry, &[mirror("ben", "y")]).unwrap();
        drop(again);
        assert_eq!(registry.live(), 2);
        let _third = insert(&registry, &[mirror("ana", "y")]).unwrap();
        assert_eq!(registry.mirrors(&Owner::new("ana")).len(), 2);
    }
}
