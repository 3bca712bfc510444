//! What the micro-benchmarks run of a call's way through the relay; `ggrok_protocol::bench` says why
//! it is a module and a feature.

use std::cell::LazyCell;
use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use ggrok_protocol::bench::Operation;
use ggrok_protocol::{Dialect, Limits, Memory, open};
use http::{HeaderMap, Uri};

use crate::forwarded::Forwarded;
use crate::host::Host;
use crate::place::Place;
use crate::registry::{Registration, Registry};
use crate::seen::Seen;
use crate::tunnel::Registered;
use crate::{Grant, Tunnel};

/// What routes a request with these fields and prepares it for the app.
pub fn routing(headers: &HeaderMap) -> Vec<Operation> {
    let mut operations = vec![parse_host(headers.clone()), set_forwarded(headers.clone())];
    operations.extend([1, 1_000, 10_000].map(look_up));
    operations
}

fn parse_host(headers: HeaderMap) -> Operation {
    let uri = Uri::from_static("/");
    Operation::new("parse host", move || {
        Host::of(&uri, &headers).expect("it is one")
    })
}

/// From the second run on it finds its own fields and replaces them, as it does a visitor's.
fn set_forwarded(mut headers: HeaderMap) -> Operation {
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST).into();
    Operation::new("set forwarded fields", move || {
        Forwarded::of(&headers, Some(&peer), 0).set(&mut headers);
    })
}

/// Asks for one tunnel after the other, far apart, so that a large registry is not all in the cache.
fn look_up(tunnels: usize) -> Operation {
    let full = LazyCell::new(move || Full::of(tunnels));
    let mut next = 0;
    Operation::new(format!("look up 1 of {tunnels} tunnels"), move || {
        next = (next + STEP) % tunnels;
        let place = &full.asked[next];
        full.registry.tunnel(place).expect("it is registered")
    })
}

/// A prime, so that all come in turn.
const STEP: usize = 7919;

/// A registry, and the places that are asked for.
struct Full {
    registry: Registry,
    /// Texts of their own, as a visitor's request has: the same one would be equal by its address.
    asked: Vec<Place>,
    /// Dropped, they would leave the registry.
    _registrations: Vec<Registration>,
}

impl Full {
    fn of(tunnels: usize) -> Self {
        let registry = Registry::new(tunnels, tunnels);
        let insert = |number| registry.insert(&tunnel(place(number)));
        Self {
            _registrations: (0..tunnels)
                .map(|number| insert(number).expect("there is room"))
                .collect(),
            asked: (0..tunnels).map(place).collect(),
            registry,
        }
    }
}

fn place(number: usize) -> Place {
    let host = format!("app-{number}.tunnel.example.com").parse();
    Place::Host(host.expect("it is a name"))
}

fn tunnel(place: Place) -> Tunnel {
    let (line, _) = open(Dialect::V2, Limits::default());
    let registered = Registered {
        grant: Grant::everything(),
        places: vec![place],
        dialect: Dialect::V2,
        peer: None,
        since: SystemTime::now(),
        seen: Seen::now(),
        most_calls: 1,
        account: Memory::new(usize::MAX).account(),
        door: None,
    };
    Tunnel::new(line, registered)
}
