//! Tests of the shares of calls by address.

use std::future::poll_fn;
use std::net::IpAddr;
use std::time::Duration;

use ggrok_protocol::Memory;
use tokio::time::{advance, timeout};

use super::{Bounds, CallLimiter, Caller, Capacity, Full, Permit};

const BOUNDS: Bounds = Bounds {
    calls: 100,
    per_address: 60,
};

fn limiter(bounds: Bounds) -> CallLimiter {
    CallLimiter::new(bounds, Memory::new(64 << 20))
}

fn visitor(address: &str) -> Caller {
    let address: IpAddr = address.parse().unwrap();
    Caller::Visitor(Some(address))
}

/// A tunnel for 40 calls.
const fn tunnel() -> Capacity {
    Capacity {
        tunnel: 1,
        calls: 40,
        bytes: 64 << 20,
        free_bytes: 64 << 20,
    }
}

async fn joined(limiter: &CallLimiter, caller: Caller) -> Result<Permit, Full> {
    let permit = limiter.enter(caller).await?;
    permit.join(tunnel).await?;
    Ok(permit)
}

/// As many calls of a tunnel as an address gets.
async fn all(limiter: &CallLimiter, caller: Caller) -> (Vec<Permit>, Full) {
    let mut permits = Vec::new();
    loop {
        match joined(limiter, caller).await {
            Ok(permit) => permits.push(permit),
            Err(full) => return (permits, full),
        }
    }
}

/// Ends when one of these calls is evicted, as the call would.
async fn yields(mut permits: Vec<Permit>) {
    poll_fn(|cx| {
        permits.retain(|permit| permit.entry().poll_evicted(cx).is_pending());
        std::task::Poll::<()>::Pending
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_not_alone_leaves_a_quarter_of_a_tunnel() {
    let limiter = limiter(BOUNDS);
    let other = joined(&limiter, visitor("192.0.2.2")).await;
    let (greedy, full) = all(&limiter, visitor("192.0.2.1")).await;
    assert_eq!((greedy.len(), full), (29, Full::Tunnel));
    let (others, _) = all(&limiter, visitor("192.0.2.3")).await;
    assert!(others.len() >= 5, "{}", others.len());
    drop((greedy, other, others));
    let (alone, _) = all(&limiter, visitor("192.0.2.1")).await;
    assert_eq!(alone.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_network_of_ipv6_is_one_address() {
    let limiter = limiter(BOUNDS);
    let mut permits = Vec::from_iter(joined(&limiter, visitor("192.0.2.1")).await);
    for last in 0..40 {
        let caller = visitor(&format!("2001:db8:1:2::{last:x}"));
        permits.extend(joined(&limiter, caller).await);
    }
    assert_eq!(permits.len(), 30);
}

#[tokio::test(start_paused = true)]
async fn visitors_of_unknown_address_share_no_part_as_one() {
    let limiter = limiter(BOUNDS);
    let (permits, _) = all(&limiter, Caller::Visitor(None)).await;
    assert_eq!(permits.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn the_call_that_stalled_longest_gives_way_to_a_newcomer() {
    let limiter = limiter(BOUNDS);
    let mut permits = Vec::new();
    for number in 0..10 {
        let caller = visitor(&format!("192.0.2.{number}"));
        for _ in 0..4 {
            permits.extend(joined(&limiter, caller).await);
        }
    }
    advance(Duration::from_secs(2)).await;
    for permit in &permits[1..] {
        permit.entry().moved();
    }
    advance(Duration::from_secs(2)).await;
    let longest = permits[0].entry().clone();
    let yielding = tokio::spawn(yields(permits));
    let permit = joined(&limiter, visitor("198.51.100.1")).await;
    assert!(permit.is_ok());
    assert!(longest.is_evicted());
    yielding.abort();
}

#[tokio::test(start_paused = true)]
async fn nothing_gives_way_to_the_address_that_has_most() {
    let limiter = limiter(BOUNDS);
    let (_held, _) = all(&limiter, visitor("192.0.2.1")).await;
    advance(Duration::from_secs(20)).await;
    let refused = timeout(Duration::ZERO, joined(&limiter, visitor("192.0.2.1"))).await;
    assert!(matches!(refused, Ok(Err(Full::Tunnel))));
}

#[tokio::test(start_paused = true)]
async fn a_visitor_who_stopped_gives_way_to_its_own_network() {
    let limiter = limiter(BOUNDS);
    let (held, _) = all(&limiter, visitor("192.0.2.1")).await;
    held[3].entry().waits_for_request(true);
    advance(Duration::from_secs(31)).await;
    let yielding = tokio::spawn(yields(held));
    assert!(joined(&limiter, visitor("192.0.2.1")).await.is_ok());
    yielding.abort();
}

#[tokio::test(start_paused = true)]
async fn the_relay_evicts_for_those_who_have_less() {
    let limiter = limiter(BOUNDS);
    let mut held = Vec::new();
    for address in ["192.0.2.1", "192.0.2.2"] {
        while let Ok(Ok(permit)) = timeout(Duration::ZERO, limiter.enter(visitor(address))).await {
            held.push(permit);
        }
    }
    assert_eq!(held.len(), 100);
    advance(Duration::from_secs(2)).await;
    let yielding = tokio::spawn(yields(held));
    let (first, second) = (visitor("192.0.2.3"), visitor("192.0.2.4"));
    assert!(limiter.enter(first).await.is_ok());
    assert!(limiter.enter(second).await.is_ok());
    yielding.abort();
}

#[tokio::test(start_paused = true)]
async fn memory_is_left_for_those_who_have_less() {
    let memory = Memory::new(16 << 20);
    let limiter = CallLimiter::new(
        Bounds {
            calls: 10_000,
            per_address: 10_000,
        },
        memory.clone(),
    );
    let mut held = Vec::new();
    let full = loop {
        match limiter.enter(visitor("192.0.2.1")).await {
            Ok(permit) => held.push(permit),
            Err(full) => break full,
        }
    };
    assert_eq!(full, Full::Memory);
    assert!(memory.free() > (16 << 20) / 5);
    let other = limiter.enter(visitor("192.0.2.2")).await;
    assert!(other.is_ok());
    let all = memory.account().reserve(memory.free());
    assert!(matches!(
        limiter.enter(visitor("192.0.2.1")).await,
        Err(Full::Memory)
    ));
    advance(Duration::from_secs(2)).await;
    let yielding = tokio::spawn(yields(held));
    assert!(limiter.enter(visitor("192.0.2.3")).await.is_ok());
    yielding.abort();
    drop(all);
}
