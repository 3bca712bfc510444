//! The relay of ggrok as a library: [`serve()`] takes a listener, a [`Config`] and a shutdown.
//!
//! A client registers by WebSocket at `/$$ggrok`, and the Host of that request is the host that it
//! serves. Every other request goes to the client of its Host. `docs/architecture.md` follows one
//! request from top to bottom.

mod access;
mod app;
mod config;
mod error;
mod forwarded;
mod host;
mod lent;
mod register;
mod registry;
mod relay;
mod serve;
mod socket;
mod upgrade;
mod visitor;

pub use access::Access;
pub use config::Config;
pub use ggrok_protocol::Limits;
pub use serve::serve;
