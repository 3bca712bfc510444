//! What the registry promises to owners and to visitors.

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
