//! Builders of what a scenario needs: a local server, a relay, a client, a visitor.

#[cfg(target_os = "linux")]
mod browser;
mod client;
#[cfg(target_os = "linux")]
mod curl;
mod dial;
mod eventually;
mod grpc;
mod http2;
mod mirror;
mod origin;
mod owners;
mod player;
mod program;
#[cfg(target_os = "linux")]
mod published;
mod relay;
mod stage;
#[cfg(target_os = "linux")]
mod suites;
mod visitor;
mod wire;

#[cfg(target_os = "linux")]
pub use browser::{Browser, Page, committed};
pub use client::{Client, config};
#[cfg(target_os = "linux")]
pub use curl::{Curl, Outcome, normal};
pub use dial::{Socket, close_code, dial, handshake, refused};
pub use eventually::{PATIENCE, eventually};
pub use grpc::{Echo, EchoClient, GrpcServer, Said, Told, said, told, within};
pub use http2::{
    CONTINUATION, DATA, END_STREAM, Frame, Frames, GOAWAY, HEADERS, Http2, LocalCall, LocalHttp2,
    PREFACE, RST_STREAM, SETTINGS, error, fields_block, piece, whole,
};
pub use mirror::{Asked, MAGIC_MIRROR, Mirror, answered, ask, listed, names};
pub use origin::{CLOSE, Origin, Seen, dechunk, fields};
pub use owners::{Owners, owners};
pub use player::{in_v2, play, say};
pub use program::{Program, installed, output};
#[cfg(target_os = "linux")]
pub use published::Published;
pub use relay::{Relay, RelayProgram};
pub use stage::{DIALECTS, Stage, example, hosted, tenant};
#[cfg(target_os = "linux")]
pub use suites::{Suites, printed, script};
pub use visitor::{Answer, exchange, get, raw};
pub use wire::{Wire, Wires, noise};

use ggrok_protocol::Dialect;

/// A local server with a client and a relay before it, speaking one dialect.
pub struct Setup {
    pub origin: Origin,
    pub relay: Relay,
    pub client: Client,
}

impl Setup {
    /// Starts all three. The two programs agree on the best dialect by themselves.
    pub async fn start(origin: Origin) -> Self {
        Self::with(origin, None).await
    }

    /// Starts all three, in one dialect.
    pub async fn with(origin: Origin, dialect: Option<Dialect>) -> Self {
        let relay = Relay::start().await;
        let mut settings = config(&relay, &origin);
        settings.dialect = dialect;
        let client = Client::ready(settings).await;
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
    for dialect in &[Dialect::V2, Dialect::Ggrok] {
        let origin = Origin::start(origin).await;
        let setup = Setup::with(origin, Some(*dialect)).await;
        println!("in {dialect}");
        scenario(setup).await;
    }
}
