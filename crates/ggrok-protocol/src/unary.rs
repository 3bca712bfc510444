//! A dialect in which each side sends one whole message per call, in turn.
//!
//! Order is all that such a dialect has: the next message of the client is the answer to the last
//! request. So a mutex is the turn, one per connection. Whoever calls takes it, and it stays taken
//! until the answer has come, even if the caller leaves meanwhile; a call without an answer in
//! time ends the tunnel.

mod client;
mod codec;
mod collect;
mod due;
mod envelope;
mod ggrok;
mod http1;
mod magic_mirror;
#[cfg(test)]
mod recorded;
mod relay;
mod target;

pub(crate) use client::{Calls, Session as ClientSession, Turn, accept};
pub(crate) use codec::Codec;
pub(crate) use collect::Held;
pub(crate) use relay::{Line, Session as RelaySession, open};
