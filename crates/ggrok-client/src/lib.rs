//! The client of ggrok as a library: a program publishes itself, or a local server, by a [`Client`].
//!
//! It dials out to the relay over one WebSocket and replays every request that arrives there
//! against a local server or a service inside the program. [`run()`] takes the same as one
//! [`Config`], with an observer and a shutdown. `docs/architecture.md` follows one request from top
//! to bottom.

mod address;
mod backoff;
mod claim;
mod client;
mod config;
mod connect;
mod connections;
mod error;
mod event;
mod host_check;
mod host_header;
mod local;
mod monitor;
mod printable;
mod reached;
mod remote;
mod run;
mod serve;
mod shares;
mod tasks;
mod tls;
mod upgrade;
mod upstream;

pub use address::{AddressError, LocalAddress, RelayAddress};
pub use claim::{BadHostName, Claim, HostName, Mirror};
pub use client::{Builder, Client};
pub use config::{Config, Token};
pub use error::{ConnectError, RunError};
pub use event::Event;
pub use ggrok_protocol::{
    BadMirrorName, BadRules, BodyLength, Broken, Dialect, Limits, Login, Logins, MirrorName,
    Network, PathPrefix, Rules,
};
pub use host_check::HostCheck;
pub use host_header::{AppHost, BadHostHeader, HostHeader};
pub use printable::{printable, printable_json};
pub use remote::RemoteAddress;
pub use run::run;
pub use shares::{NewShare, Share, Shared, Shares, SharesError};
pub use upstream::{LocalService, Upstream};
