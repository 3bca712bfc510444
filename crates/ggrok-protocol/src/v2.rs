//! The dialect `ggrok.v2`: many calls at once, streamed.
//!
//! ```text
//! relay ── Head ───────────────────────► client     a small call: one message each way
//!       ◄─────────────────────── Head ──
//!
//! relay ── Head · Data · Data · Data(end) ─► client   a large one, as far as credit goes
//!       ◄── Window · Window ───────────────
//!       ◄── Head · Data · Trailers ────────
//! ```
//!
//! A message is one [`frame`]. A head is a JSON envelope ([`head`]); bodies are bytes. Each body
//! has a window ([`window`]): who receives it grants credit as it is read, so a slow reader slows
//! its own call and no other. A call is over when its response has ended, or by a Reset of either
//! side. Control frames overtake data ([`outbox`]).

mod admission;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod body;
mod call;
mod calls;
mod client;
mod frame;
mod head;
mod inbox;
mod outbox;
mod relay;
mod send;
mod session;
mod window;

#[cfg(any(test, fuzzing))]
pub(crate) use frame::Frame;
#[cfg(any(test, fuzzing))]
pub(crate) use head::{carry, reread as reread_heads};

pub(crate) use body::LARGE_HEAD;
pub(crate) use head::fields_length;

pub(crate) use client::{Answer, Arrivals, accept};
pub(crate) use relay::{Line, open};
pub(crate) use session::Session;

/// The body of a response, at the relay.
pub(crate) type ResponseBody = body::Incoming<relay::Live>;

/// The body of a request, at the client.
pub(crate) type RequestBody = body::Incoming<()>;
