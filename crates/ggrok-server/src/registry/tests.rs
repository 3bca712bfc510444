//! What the registry promises to owners and to visitors.

use std::collections::HashMap;
use std::time::SystemTime;

use ggrok_protocol::{Dialect, Limits, Memory, open};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Held, Missing, NotInserted, Registration, Registry};
use crate::host::Host;
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
    insert_for(registry, owner, places)
}

fn insert_for(
    registry: &Registry,
    owner: &Owner,
    places: &[Place],
) -> Result<Registration, NotInserted> {
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
            most_calls: 1,
            account: Memory::new(usize::MAX).account(),
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

/// What owners do with a registry. Each is one step under its lock, so that what happens side by side
/// happens in some order; these are all orders.
#[derive(Clone, Debug)]
enum Step {
    /// Registers a mirror, a host or both.
    Register(Owner, Vec<Place>),
    /// The client of one of those that are registered goes away.
    Leave(Index),
    Forget(Owner, Place),
    /// An owner gives a host free, or somebody who may do so for all.
    Release(Option<Owner>, Host),
}

fn step() -> impl Strategy<Value = Step> {
    let owner = prop::sample::select(vec!["ana", "ben", "eva"]);
    let register =
        (owner.clone(), 0..3_u8, 0..3_u8, 0..3_u8).prop_map(|(owner, kind, name, host)| {
            let places = [mirror(owner, &format!("m{name}")), place(host)];
            let places = match kind {
                0 => places[..1].to_vec(),
                1 => places[1..].to_vec(),
                _ => places.to_vec(),
            };
            Step::Register(Owner::new(owner), places)
        });
    let forget = (owner.clone(), 0..3_u8)
        .prop_map(|(owner, name)| Step::Forget(Owner::new(owner), place(name)));
    let release = (prop::option::of(owner), 0..3_u8)
        .prop_map(|(owner, name)| Step::Release(owner.map(Owner::new), host(name)));
    prop_oneof![
        4 => register,
        3 => any::<Index>().prop_map(Step::Leave),
        1 => forget,
        1 => release,
    ]
}

fn host(number: u8) -> Host {
    format!("h{number}.example").parse().unwrap()
}

fn place(number: u8) -> Place {
    Place::Host(host(number))
}

/// The registry as it should be.
#[derive(Default)]
struct Model {
    /// Who has a place, with the number of the registration where that is live.
    places: HashMap<Place, (Owner, Option<usize>)>,
    held: Vec<(usize, Registration)>,
    registered: usize,
}

impl Model {
    fn is_live(&self, place: &Place) -> bool {
        self.places
            .get(place)
            .is_some_and(|(_, live)| live.is_some())
    }

    /// Registrations that have the first of their places.
    fn live(&self, of: Option<&Owner>) -> usize {
        let live = self.held.iter().filter(|(number, held)| {
            let first = self.places.get(&held.tunnel.places()[0]);
            first.is_some_and(|(_, live)| *live == Some(*number))
                && of.is_none_or(|owner| held.tunnel.owner() == owner)
        });
        live.count()
    }

    fn expected(&self, owner: &Owner, places: &[Place]) -> Option<NotInserted> {
        let mut holders = places.iter().filter_map(|place| self.places.get(place));
        if holders.any(|(holder, _)| holder != owner) {
            return Some(NotInserted::Taken);
        }
        let is_full = self.live(None) >= MOST || self.live(Some(owner)) >= MOST_OF_ONE;
        let replaces = places.iter().any(|place| self.is_live(place));
        (is_full && !replaces).then_some(NotInserted::Full)
    }

    fn take(&mut self, registry: &Registry, step: Step) {
        match step {
            Step::Register(owner, places) => {
                let expected = self.expected(&owner, &places);
                let registered = insert_for(registry, &owner, &places);
                assert_eq!(registered.as_ref().err().copied(), expected);
                let Ok(registration) = registered else { return };
                self.registered += 1;
                for place in places {
                    self.places
                        .insert(place, (owner.clone(), Some(self.registered)));
                }
                self.held.push((self.registered, registration));
            }
            Step::Leave(index) if !self.held.is_empty() => {
                let (number, held) = self.held.remove(index.index(self.held.len()));
                for place in held.tunnel.places() {
                    if let Some((_, live)) = self.places.get_mut(place) {
                        live.take_if(|live| *live == number);
                    }
                }
            }
            Step::Leave(_) => {}
            Step::Forget(owner, place) => {
                registry.forget(&owner, &place);
                if self.places.get(&place) == Some(&(owner, None)) {
                    self.places.remove(&place);
                }
            }
            Step::Release(of, host) => {
                let place = Place::Host(host.clone());
                let holder = self.places.get(&place).cloned();
                let holder = holder.filter(|(owner, _)| of.as_ref().is_none_or(|of| of == owner));
                let released = registry.release(&host, of.as_ref());
                assert_eq!(released.as_ref(), holder.as_ref().map(|(owner, _)| owner));
                let Some((_, number)) = holder else { return };
                // Its tunnel has nothing any more.
                for (_, live) in self.places.values_mut() {
                    live.take_if(|live| Some(*live) == number);
                }
                self.places.remove(&place);
            }
        }
    }

    /// The hosts that an owner has.
    fn hosts(&self, of: &Owner) -> Vec<Held> {
        let hosts = (0..3).map(host).filter_map(|host| {
            let (owner, number) = self.places.get(&Place::Host(host.clone()))?;
            let held = self.held.iter().find(|(held, _)| Some(*held) == *number);
            (owner == of).then(|| Held {
                host,
                owner: owner.clone(),
                tunnel: held.map(|(_, held)| held.tunnel.clone()),
            })
        });
        hosts.collect()
    }

    fn compare(&self, registry: &Registry) {
        for (place, (owner, live)) in &self.places {
            let held = self.held.iter().find(|(number, _)| Some(*number) == *live);
            let expected = held.map(|(_, held)| held.tunnel.clone());
            assert_eq!(registry.tunnel(place), expected.ok_or(Missing::Offline));
            assert!(registry.is_of(place, owner));
        }
        for owner in ["ana", "ben", "eva"].map(Owner::new) {
            assert_eq!(registry.hosts(Some(&owner)), self.hosts(&owner));
        }
        let hosts = self.places.keys();
        let hosts = hosts.filter(|place| matches!(place, Place::Host(_)));
        assert_eq!(registry.hosts(None).len(), hosts.count());
        assert_eq!(registry.live(), self.live(None));
    }
}

const MOST: usize = 5;
const MOST_OF_ONE: usize = 3;

proptest! {
    #[test]
    fn keeps_its_promises_in_any_order(steps in vec(step(), 1..60)) {
        // So many are remembered that none of these is forgotten.
        let registry = Registry { remembered: 1000, ..Registry::new(MOST, MOST_OF_ONE) };
        let mut model = Model::default();
        for step in steps {
            model.take(&registry, step);
            registry.read().audit();
            model.compare(&registry);
        }
    }

    #[test]
    fn keeps_its_accounts_while_it_forgets(steps in vec(step(), 1..60)) {
        let registry = Registry { remembered: 2, ..Registry::new(MOST, MOST_OF_ONE) };
        let mut held = Vec::new();
        for step in steps {
            match step {
                Step::Register(owner, places) => held.extend(insert_for(&registry, &owner, &places)),
                Step::Leave(index) if !held.is_empty() => drop(held.remove(index.index(held.len()))),
                Step::Leave(_) => {}
                Step::Forget(owner, place) => registry.forget(&owner, &place),
                Step::Release(of, host) => drop(registry.release(&host, of.as_ref())),
            }
            registry.read().audit();
        }
        held.clear();
        registry.read().audit();
        prop_assert_eq!(registry.live(), 0);
    }
}
