//! Both ends of a tunnel in memory, in paused time.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(unreachable_pub, reason = "nothing reaches into a test")]

#[path = "pair/flood.rs"]
mod flood;
#[path = "pair/memory.rs"]
mod memory;
#[path = "pair/unary.rs"]
mod unary;
#[path = "pair/v2.rs"]
mod v2;
