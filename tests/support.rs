//! Builders of what a scenario needs: a local server, a relay, a client, a visitor.

mod client;
mod eventually;
mod origin;
mod program;
mod relay;
mod visitor;

pub use client::{Client, config};
pub use eventually::{PATIENCE, eventually};
pub use origin::{CLOSE, Origin, Seen, fields};
pub use program::{Program, installed};
pub use relay::Relay;
pub use visitor::{Answer, exchange, get, raw};

use ggrok_protocol::Dialect;

/// A local server with a client and a relay before it, speaking one dialect.
pub struct Setup {
    pub origin: Origin,
    pub relay: Relay,
    pub client: Client,
}

impl Setup {
    pub async fn start(origin: Origin) -> Self {
        let relay = Relay::start().await;
        let client = Client::start(&relay, &origin).await;
        Self {
            origin,
            relay,
            client,
        }
    }

    /// Sends a visitor's request and returns the whole answer.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        raw(self.relay.address, request).await
    }

    /// Sends a GET with the relay's host.
    pub async fn get(&self, target: &str) -> Answer {
        get(self.relay.address, target).await
    }
}

/// Runs a scenario once in every dialect, over its own relay, client and local server.
pub async fn in_every_dialect(origin: fn(&Seen) -> Vec<u8>, scenario: impl AsyncFn(Setup)) {
    for dialect in Dialect::ALL {
        // Our two programs agree on a dialect by themselves, and there is one so far.
        assert_eq!(*dialect, Dialect::Ggrok);
        let origin = Origin::start(origin).await;
        scenario(Setup::start(origin).await).await;
    }
}
