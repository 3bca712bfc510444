//! The places that were ever taken, and the accounts of their owners.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::NotInserted;
use crate::host::Host;
use crate::place::Place;
use crate::{Grant, Owner, Tunnel};

/// The places that were ever taken, until they are forgotten.
#[derive(Debug, Default)]
pub(super) struct Places {
    slots: HashMap<Place, Slot>,
    /// The hosts among the places, with their labels reversed, so that those below one follow it.
    hosts: BTreeSet<String>,
    /// The relay's domain. The hosts directly below it are not below another owner's.
    domain: Option<Host>,
    owners: HashMap<Owner, Belongings>,
    /// Tunnels that are registered.
    live: usize,
    /// Registrations that are remembered without a tunnel.
    offline: usize,
    /// Counts what happens, so that each has a number of its own.
    events: u64,
    closed: bool,
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
    /// Whether the operator granted this very place, and not one of many by a pattern.
    is_named: bool,
    holder: Holder,
}

/// Who has a place.
#[derive(Debug)]
pub(super) enum Holder {
    Live(Tunnel),
    /// Its client went away, at this event. The place stays its owner's: visitors would trust
    /// whoever came next.
    Offline(Owner, u64),
}

impl Holder {
    pub(super) const fn live(&self) -> Option<&Tunnel> {
        match self {
            Self::Live(tunnel) => Some(tunnel),
            Self::Offline(..) => None,
        }
    }

    pub(super) fn owner(&self) -> &Owner {
        match self {
            Self::Live(tunnel) => tunnel.owner(),
            Self::Offline(owner, _) => owner,
        }
    }
}

impl Places {
    pub(super) fn holder(&self, place: &Place) -> Option<&Holder> {
        self.slots.get(place).map(|slot| &slot.holder)
    }

    /// How many tunnels are registered.
    pub(super) const fn live(&self) -> usize {
        self.live
    }

    /// How many of them are this owner's.
    pub(super) fn live_of(&self, owner: &Owner) -> usize {
        self.owners.get(owner).map_or(0, |owner| owner.live)
    }

    /// All places and who has them, in no order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Place, &Holder)> {
        let slots = self.slots.iter();
        slots.map(|(place, slot)| (place, &slot.holder))
    }

    /// The places that a tunnel has, in no order.
    pub(super) fn taken(&self) -> impl Iterator<Item = (&Place, &Tunnel)> {
        self.all()
            .filter_map(|(place, holder)| Some((place, holder.live()?)))
    }

    /// Sets the relay's domain.
    pub(super) fn set_domain(&mut self, domain: Option<Host>) {
        self.domain = domain;
    }

    /// Whether an owner may have these places.
    pub(super) fn check(&self, places: &[Place], grant: &Grant) -> Result<(), NotInserted> {
        if self.closed {
            return Err(NotInserted::Stopping);
        }
        let owner = grant.owner();
        let is_taken = |place: &Place| {
            let holder = self.holder(place);
            holder.is_some_and(|holder| holder.owner() != owner)
                || !self.is_named(place, grant) && self.has_foreign_relative(place, owner)
        };
        if places.iter().any(is_taken) {
            return Err(NotInserted::Taken);
        }
        Ok(())
    }

    fn is_named(&self, place: &Place, grant: &Grant) -> bool {
        match place {
            Place::Host(host) => grant.names_exactly(host, self.domain.as_ref()),
            Place::Mirror(..) => false,
        }
    }

    /// Whether a host above or below a place is another owner's. Pages of such hosts can set cookies for
    /// each other, and people take one for a part of the other.
    fn has_foreign_relative(&self, place: &Place, owner: &Owner) -> bool {
        let Place::Host(host) = place else {
            return false;
        };
        // The places of one owner cannot be in conflict.
        if self.owners.len() <= usize::from(self.owners.contains_key(owner)) {
            return false;
        }
        let is_foreign = |host: Host| {
            let slot = self.slots.get(&Place::Host(host))?;
            (slot.holder.owner() != owner).then_some(slot)
        };
        let domain = self.domain.as_ref();
        let above = host.parents().take_while(|above| Some(above) != domain);
        if above.into_iter().any(|above| is_foreign(above).is_some()) {
            return true;
        }
        if domain.is_some_and(|domain| domain == host || domain.is_below(host)) {
            return false;
        }
        // What an owner has already has nothing foreign below it, and needs no scan.
        let held = self.holder(place);
        if held.is_some_and(|holder| holder.owner() == owner) {
            return false;
        }
        let start = format!("{}.", host.reversed());
        let below = self.hosts.range(start.clone()..);
        let mut below = below.take_while(|below| below.starts_with(&start));
        below.any(|below| {
            let below = Host::of_reversed(below).and_then(is_foreign);
            below.is_some_and(|slot| !slot.is_named)
        })
    }

    fn remove_slot(&mut self, place: &Place) -> Option<Slot> {
        if let Place::Host(host) = place {
            self.hosts.remove(&host.reversed());
        }
        self.slots.remove(place)
    }

    /// Takes no more tunnels.
    pub(super) const fn close(&mut self) {
        self.closed = true;
    }

    /// The tunnels that have these places.
    pub(super) fn live_at(&self, places: &[Place]) -> Vec<Tunnel> {
        let slots = places.iter().filter_map(|place| self.slots.get(place));
        slots
            .filter_map(|slot| slot.holder.live())
            .cloned()
            .collect()
    }

    /// Every live tunnel once: at the first of its places.
    pub(super) fn tunnels(&self) -> impl Iterator<Item = &Tunnel> {
        self.slots.values().filter_map(Slot::first)
    }

    fn next_event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Puts a tunnel at its places, and returns the number of that registration.
    pub(super) fn take(&mut self, tunnel: &Tunnel) -> u64 {
        let number = self.next_event();
        for (index, place) in tunnel.places().iter().enumerate() {
            let slot = Slot {
                number,
                is_first: index == 0,
                is_named: self.is_named(place, tunnel.grant()),
                holder: Holder::Live(tunnel.clone()),
            };
            if let Place::Host(host) = place {
                self.hosts.insert(host.reversed());
            }
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
    pub(super) fn leave(&mut self, tunnel: &Tunnel, number: u64, most: usize) {
        self.take_offline(tunnel, number);
        while self.offline > most {
            self.forget_one();
        }
    }

    fn take_offline(&mut self, tunnel: &Tunnel, number: u64) {
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
            if let Some(slot) = self.remove_slot(&place) {
                self.vacate(&place, &slot);
            }
        }
    }

    /// Forgets a place of this owner's that has no tunnel.
    pub(super) fn forget(&mut self, owner: &Owner, place: &Place) {
        if let Some(slot) = self.slots.get(place)
            && matches!(&slot.holder, Holder::Offline(holder, _) if holder == owner)
            && let Some(slot) = self.remove_slot(place)
        {
            self.vacate(place, &slot);
        }
    }

    /// Forgets a place, whoever has it, and returns the tunnel that had it. The tunnel's other places go
    /// offline, as if it had left; when it has, they are bounded.
    pub(super) fn release(&mut self, place: &Place) -> Option<Tunnel> {
        let slot = self.slots.get(place)?;
        let (number, owner) = (slot.number, slot.holder.owner().clone());
        let tunnel = slot.holder.live().cloned();
        if let Some(tunnel) = &tunnel {
            self.take_offline(tunnel, number);
        }
        self.forget(&owner, place);
        tunnel
    }
}

impl Slot {
    /// The live tunnel of the slot, where this is the first of its places.
    fn first(&self) -> Option<&Tunnel> {
        self.holder.live().filter(|_| self.is_first)
    }
}

#[cfg(test)]
impl Places {
    /// Sees that what is counted is what there is.
    pub(super) fn audit(&self) {
        let firsts = |of: &Owner| {
            let tunnels = self.tunnels();
            tunnels.filter(|tunnel| tunnel.owner() == of).count()
        };
        assert_eq!(self.live, self.tunnels().count());
        let hosts = self
            .slots
            .keys()
            .filter(|place| matches!(place, Place::Host(_)));
        assert_eq!(self.hosts.len(), hosts.count());
        let (mut live, mut offline, mut listed) = (0, 0, 0);
        for (owner, has) in &self.owners {
            assert_eq!(has.live, firsts(owner));
            assert!(
                has.live > 0 || !has.offline.is_empty(),
                "{owner:?} has nothing"
            );
            live += has.live;
            offline += has.offline.len();
            for (since, places) in &has.offline {
                assert!(!places.is_empty(), "nothing is left of event {since}");
                listed += places.len();
                for place in places {
                    let holder = self.holder(place);
                    let is_so = matches!(holder, Some(Holder::Offline(of, at)) if of == owner && at == since);
                    assert!(is_so, "{place} is {holder:?}, not offline since {since}");
                }
            }
        }
        let away = self
            .slots
            .values()
            .filter(|slot| slot.holder.live().is_none());
        assert_eq!(
            (live, offline, listed),
            (self.live, self.offline, away.count())
        );
    }
}
