//! The relay of ggrok as a library.
//!
//! [`serve()`] is the whole relay: it takes a listener, a [`Config`] and a shutdown. A client
//! registers by WebSocket, for a host or as a named mirror. Visitors of a host reach its client, and
//! an owner's programs reach the owner's mirrors. `docs/architecture.md` follows one request from top
//! to bottom.
//!
//! [`Relay`] is what an axum app embeds, to reach the private services of its users. The app says
//! whose a request is, and calls:
//!
//! ```no_run
//! use axum::Router;
//! use ggrok_server::{Access, Authenticate, Config, Denied, Grant, Owner, Relay, take_token};
//!
//! struct Users;
//!
//! impl Authenticate for Users {
//!     async fn authenticate(&self, request: &mut http::request::Parts) -> Result<Grant, Denied> {
//!         let token = take_token(&mut request.headers).ok_or(Denied::NoToken)?;
//!         match token.as_bytes() {
//!             b"the key of ana" => Ok(Grant::new(Owner::new("ana"))),
//!             _ => Err(Denied::WrongToken),
//!         }
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let relay = Relay::new(Config::new(Access::by(Users), 0));
//! let app = Router::<()>::new().nest("/tunnels", relay.router());
//! # let _ = app;
//! // ggrok-client --remote wss://app.example.com/tunnels/mirror --name prometheus \
//! //     --local http://localhost:9090 --apikey "the key of ana"
//! let prometheus = relay.mirror(&Owner::new("ana"), &"prometheus".parse()?);
//! if let Some(prometheus) = prometheus {
//!     let request = http::Request::get("/api/v1/query?query=up").body(axum::body::Body::empty())?;
//!     let response = prometheus.call(request).await?;
//!     println!("{}", response.status());
//! }
//! # Ok(())
//! # }
//! ```

mod access;
mod api;
mod app;
mod attempts;
#[cfg(feature = "bench")]
pub mod bench;
mod call;
mod claim;
mod config;
mod door;
mod error;
mod event;
mod field_name;
mod forwarded;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gate;
mod grant;
mod handshake;
mod host;
mod hosts;
mod limits;
mod log_limit;
mod max_forwards;
mod meter;
mod metrics;
mod mirrors;
mod operator;
mod own_hosts;
mod owner;
mod pace;
mod pages;
mod pattern;
mod peer;
mod place;
mod provisional;
mod register;
mod registry;
mod relay;
mod request_id;
mod response;
mod seen;
mod serve;
mod stream;
mod tokens;
mod tunnel;
mod turned_away;
mod upgrade;
mod upload;
mod via;
mod visitor;
mod visitor_body;

pub use access::{Access, Authenticate, Denied, take_token};
pub use config::Config;
pub use event::Event;
pub use ggrok_protocol::{
    BadMirrorName, BodyError, CallError, Dialect, Limits, MirrorName, TunnelBody,
};
pub use grant::Grant;
pub use host::{BadHost, Host};
pub use metrics::Metrics;
pub use operator::serve_metrics;
pub use owner::Owner;
pub use pattern::{BadPattern, Pattern};
pub use relay::Relay;
pub use serve::serve;
pub use tokens::{BadTokens, Tokens, TokensError};
pub use tokio_util::sync::CancellationToken;
pub use tunnel::Tunnel;
pub use via::{BadPseudonym, Pseudonym};
