//! Tests of which connections give way.

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};

use ggrok_protocol::Memory;
use tokio::task::JoinHandle;

use super::{Bounds, Connections, Patience, SILENT, STALLED, Seat};
use crate::Metrics;
use crate::metrics::Shed;

const KIB: usize = 1 << 10;

fn connections(places: usize) -> Connections {
    let bounds = Bounds {
        places,
        provisional: 2,
        per_address: Some(places),
    };
    Connections::new(bounds, Metrics::new(), &Memory::new(4 * 1024 * KIB))
}

const fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
}

/// A connection, with the task that drives it.
struct Driven {
    seat: Seat,
    task: JoinHandle<()>,
}

impl Driven {
    fn new(seat: Seat) -> Self {
        let task = tokio::spawn(pending());
        seat.eviction().aborts(task.abort_handle());
        Self { seat, task }
    }

    fn is_evicted(&self) -> bool {
        self.seat.connection.task().is_evicted
    }
}

fn enter(connections: &Connections, number: u8) -> Driven {
    Driven::new(connections.enter(address(number)).unwrap())
}

#[tokio::test]
async fn a_connection_whose_answer_is_not_taken_is_not_idle() {
    let connections = connections(2);
    let (slow, idle) = (enter(&connections, 1), enter(&connections, 1));
    slow.seat.activity().set_writing(true);
    let _newcomer = enter(&connections, 1);
    assert!(idle.is_evicted() && !slow.is_evicted());
}

#[tokio::test]
async fn stalled_connections_give_way_to_an_address_that_has_far_fewer() {
    for (upgraded, Patience { usual, with_many }) in [(false, STALLED), (true, SILENT)] {
        // An address with few of all places, and one with many.
        for (places, patience) in [(4 * 64, usual), (4, with_many)] {
            let connections = connections(places);
            let mut others = Vec::new();
            for number in 0..places - 4 {
                let number = u8::try_from(2 + number % 200).unwrap();
                others.push(enter(&connections, number));
            }
            let held: Vec<_> = (0..4).map(|_| enter(&connections, 1)).collect();
            for driven in held.iter().chain(&others) {
                driven.seat.activity().answering();
                if upgraded {
                    driven.seat.activity().upgraded();
                }
            }
            for _ in 1..patience {
                connections.tick();
            }
            let moves = held[0].seat.activity();
            assert!(matches!(
                connections.enter(address(255)),
                Err(Shed::Connections)
            ));
            connections.tick();
            moves.moved();
            assert!(matches!(
                connections.enter(address(1)),
                Err(Shed::Address | Shed::Connections)
            ));
            let _newcomer = enter(&connections, 255);
            let evicted: Vec<_> = held.iter().map(Driven::is_evicted).collect();
            assert_eq!(evicted, [false, true, false, false]);
        }
    }
}

#[tokio::test]
async fn the_oldest_idle_connection_gives_way_where_all_addresses_have_as_many() {
    let connections = connections(3);
    let [first, second, third] = [2, 1, 3].map(|number| enter(&connections, number));
    first.seat.activity().idle();
    let _newcomer = enter(&connections, 4);
    assert!(second.is_evicted() && !first.is_evicted() && !third.is_evicted());
    let ended = second.task.await;
    assert!(ended.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn provisional_connections_give_way_to_one_another_and_can_take_a_place() {
    let connections = connections(1);
    let held = enter(&connections, 1);
    held.seat.activity().answering();
    let provisional = |number| Driven::new(connections.enter_provisionally(address(number)));
    let (first, second) = (provisional(2), provisional(3));
    assert!(matches!(second.seat.promote(), Err(Shed::Connections)));
    let third = provisional(2);
    assert!(first.is_evicted());
    held.seat.activity().idle();
    assert!(second.seat.promote().is_ok());
    assert!(held.is_evicted());
    assert!(!second.is_evicted() && !third.is_evicted());
}

#[tokio::test]
async fn heads_give_way_of_the_address_that_has_most_of_them() {
    let connections = connections(100);
    // A MiB is for heads.
    let good = enter(&connections, 2);
    assert!(good.seat.head_memory().reserve(100 * KIB));
    let greedy: Vec<_> = (0..8).map(|_| enter(&connections, 1)).collect();
    for driven in &greedy {
        assert!(driven.seat.head_memory().reserve(50 * KIB));
        assert!(driven.seat.head_memory().reserve(100 * KIB));
    }
    let evicted: Vec<_> = greedy.iter().map(Driven::is_evicted).collect();
    assert_eq!(evicted.iter().filter(|evicted| **evicted).count(), 1);
    assert!(evicted[0] && !good.is_evicted());
    // Requests that are answered do not give way.
    for driven in greedy.iter().chain([&good]) {
        driven.seat.activity().answering();
    }
    let newcomer = enter(&connections, 3);
    assert!(!newcomer.seat.head_memory().reserve(100 * KIB));
    greedy[1].seat.head_memory().release();
    assert!(newcomer.seat.head_memory().reserve(100 * KIB));
}

#[tokio::test]
async fn forgets_who_has_left() {
    let connections = connections(2);
    drop((
        enter(&connections, 1).seat,
        connections.enter_provisionally(address(2)),
    ));
    let table = connections.table();
    assert!(table.connections.is_empty());
    assert_eq!((table.places, table.provisional), (0, 0));
}
