//! How ggrok's relay and client speak over one WebSocket.
//!
//! ```text
//!  relay                                                        client
//!  Tunnel::call(request) ─► Session ═══ one WebSocket ═══ Session ─► Incoming::next()
//!          response      ◄─                                       ◄─ Responder::respond(response)
//! ```
//!
//! Both ends of a tunnel are a handle and its keeper. [`open`] gives the relay a [`Tunnel`] that
//! calls, [`accept`] gives the client an [`Incoming`] that yields calls; each comes with a
//! [`Session`], the only owner of the WebSocket, which must run for anything to move.
//!
//! The crate does no I/O: a [`Transport`] is any stream and sink of [`Message`]s. What is on the
//! wire is the business of a [`Dialect`] and never leaves this crate. `docs/protocol.md` states it.

// The tests' WebSocket in memory, which the fuzz targets share, knows the crate by this name.
#[cfg(any(test, fuzzing))]
extern crate self as ggrok_protocol;

#[cfg(feature = "bench")]
pub mod bench;
mod body;
mod broken;
mod dialect;
mod error;
mod fair;
mod flushed;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod head_limit;
mod headers;
mod json;
mod limits;
mod memory;
mod message;
mod message_limit;
mod on_wake;
mod pieces;
mod pulse;
mod refusal;
mod registration;
mod replayable;
mod rules;
mod sent;
mod splice;
mod trailers;
mod tunnel;
mod unary;
mod v2;
mod wire;
mod within;

pub use body::TunnelBody;
pub use broken::{BodyLength, Broken, Responded};
pub use dialect::Dialect;
pub use error::{
    BodyError, CallError, DecodeError, EncodeError, ResetCode, SessionError, TransportError,
};
pub use flushed::{Flush, FlushedBody};
pub use head_limit::fits_response;
pub use headers::{REQUEST_ID, remove_hop_by_hop, requested_upgrade};
pub use limits::Limits;
pub use memory::{Account, Memory, Reservation};
pub use message::{Ending, Message, Transport};
pub use message_limit::{Admission, FrameStart, MessageLimit};
pub use on_wake::OnWake;
pub use pieces::poll_write_pieces;
pub use refusal::{ERROR_HEADER, Refusal};
pub use registration::{
    ADDRESS_HEADER, BadMirrorName, CALLS_HEADER, MIRROR_PATH, MirrorName, REGISTER_PATH,
    TOKEN_HEADER,
};
pub use rules::{BadRules, Login, Logins, Network, PathPrefix, RULES_HEADER, Rules};
pub use sent::{SentBody, SentBytes};
pub use splice::{SocketBody, SocketFeed, socket_body, splice};
pub use tunnel::{Arrival, Incoming, IncomingCall, Responder, Session, Tunnel, accept, open};
