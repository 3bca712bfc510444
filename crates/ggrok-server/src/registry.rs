//! Which tunnel has which place.

mod places;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ggrok_protocol::Ending;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use self::places::Places;
use crate::host::Host;
use crate::place::Place;
use crate::{Grant, MirrorName, Owner, Tunnel};

/// Which tunnel has which place. Clones are the same registry.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    places: Arc<RwLock<Places>>,
    /// Wakes whoever waits for a client.
    arrived: Arc<Notify>,
    /// Tunnels that may be registered at a time.
    most: usize,
    /// Registrations that are remembered when their clients are gone.
    remembered: usize,
    /// Tunnels that one owner may have at a time.
    most_of_one: usize,
}

/// A host that is somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) host: Host,
    pub(crate) owner: Owner,
    /// The tunnel that serves it, where its client is here.
    pub(crate) tunnel: Option<Tunnel>,
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
    /// A place, or a host above or below it, belongs to another owner.
    Taken,
    /// The relay is about to stop.
    Stopping,
}

impl NotInserted {
    /// What a client is told that had been let in already.
    pub(crate) const fn ending(self) -> Ending {
        match self {
            Self::Full | Self::Stopping => Ending::GoingAway,
            Self::Taken => Ending::Replaced,
        }
    }
}

impl Registry {
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self {
            places: Arc::default(),
            arrived: Arc::default(),
            most,
            remembered: most,
            most_of_one,
        }
    }

    /// The tunnel that has a place now.
    pub(crate) fn tunnel(&self, place: &Place) -> Result<Tunnel, Missing> {
        let places = self.read();
        let holder = places.holder(place).ok_or(Missing::Unknown)?;
        let tunnel = holder.live().ok_or(Missing::Offline)?;
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
        !self.read().live_at(places).is_empty()
    }

    /// Tells the registry the relay's domain.
    pub(crate) fn within(self, domain: Option<Host>) -> Self {
        self.write().set_domain(domain);
        self
    }

    /// Whether the owner of a grant may have these places.
    pub(crate) fn check(&self, places: &[Place], grant: &Grant) -> Result<(), NotInserted> {
        self.read().check(places, grant)
    }

    /// Whether a place is some owner's, be its client here or away.
    pub(crate) fn is_held(&self, place: &Place) -> bool {
        self.read().holder(place).is_some()
    }

    /// Whether a place is an owner's, be its client here or away.
    pub(crate) fn is_of(&self, place: &Place, owner: &Owner) -> bool {
        let places = self.read();
        let holder = places.holder(place);
        holder.is_some_and(|holder| holder.owner() == owner)
    }

    /// Registers a tunnel at its places until the registration is dropped. Of one owner the newest
    /// wins: an older tunnel at one of the places is closed.
    pub(crate) fn insert(&self, tunnel: &Tunnel) -> Result<Registration, NotInserted> {
        let mut places = self.write();
        places.check(tunnel.places(), tunnel.grant())?;
        let replaced = places.live_at(tunnel.places());
        let owned = places.live_of(tunnel.owner());
        let is_full = places.live() >= self.most || owned >= self.most_of_one;
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

    /// Registers no more tunnels, and returns all that are.
    pub(crate) fn close(&self) -> Vec<Tunnel> {
        let mut places = self.write();
        places.close();
        places.tunnels().cloned().collect()
    }

    /// How many tunnels are registered.
    pub(crate) fn live(&self) -> usize {
        self.read().live()
    }

    /// All tunnels that are registered, in no order.
    pub(crate) fn tunnels(&self) -> Vec<Tunnel> {
        self.read().tunnels().cloned().collect()
    }

    /// The mirrors of an owner, by their names.
    pub(crate) fn mirrors(&self, owner: &Owner) -> Vec<Tunnel> {
        let places = self.read();
        let mut mirrors: Vec<(&MirrorName, &Tunnel)> = places
            .taken()
            .filter_map(|(place, tunnel)| match place {
                Place::Mirror(of, name) if of == owner => Some((name, tunnel)),
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

    /// The hosts of an owner, or of all, in the order of their names.
    pub(crate) fn hosts(&self, of: Option<&Owner>) -> Vec<Held> {
        let places = self.read();
        let held = places.all().filter_map(|(place, holder)| match place {
            Place::Host(host) if of.is_none_or(|of| of == holder.owner()) => Some(Held {
                host: host.clone(),
                owner: holder.owner().clone(),
                tunnel: holder.live().cloned(),
            }),
            _ => None,
        });
        let mut hosts: Vec<Held> = held.collect();
        drop(places);
        hosts.sort_unstable_by(|a, b| a.host.as_str().cmp(b.host.as_str()));
        hosts
    }

    /// Gives a host of an owner's free, or anybody's where none is named, and closes the tunnel that
    /// serves it. No call reaches that any more, however long its client takes to leave. Returns whose
    /// the host was, where it was one of these.
    pub(crate) fn release(&self, host: &Host, of: Option<&Owner>) -> Option<Owner> {
        let place = Place::Host(host.clone());
        let mut places = self.write();
        let owner = places.holder(&place)?.owner().clone();
        if of.is_some_and(|of| *of != owner) {
            return None;
        }
        let tunnel = places.release(&place);
        drop(places);
        if let Some(tunnel) = tunnel {
            tunnel.close();
        }
        Some(owner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Places> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Places> {
        self.places.write().unwrap_or_else(PoisonError::into_inner)
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
        let remembered = self.registry.remembered;
        let mut places = self.registry.write();
        places.leave(&self.tunnel, self.number, remembered);
    }
}
