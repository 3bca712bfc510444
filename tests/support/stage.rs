//! A relay and a client of any dialect, before a local server that the scenario plays itself.

use std::net::SocketAddr;

use ggrok_client::Claim;
use ggrok_protocol::Dialect;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{Answer, Client, PATIENCE, Relay, Wire, raw};

/// Every dialect, the newest first.
pub const DIALECTS: [Dialect; 3] = [Dialect::V2, Dialect::Ggrok, Dialect::MagicMirror];

/// A relay, and a client of its that stands for a local server as `app.example`.
pub struct Stage {
    pub dialect: Dialect,
    pub listener: TcpListener,
    pub relay: Relay,
    pub client: Client,
}

impl Stage {
    pub async fn new(dialect: Dialect) -> Self {
        Self::with(dialect, |_| {}).await
    }

    /// Starts a relay whose settings are changed by a function, and a client.
    pub async fn with(dialect: Dialect, change: impl FnOnce(&mut ggrok_server::Config)) -> Self {
        let relay = example(change).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let client = Client::ready(tenant(&relay, local, dialect, "app")).await;
        Self {
            dialect,
            listener,
            relay,
            client,
        }
    }

    /// Whether whole bodies are carried, one call at a time.
    pub fn is_unary(&self) -> bool {
        self.dialect != Dialect::V2
    }

    /// A visitor who has said this. `HOST` stands for the field of the client's host.
    pub async fn visitor(&self, said: impl AsRef<[u8]>) -> Wire {
        let mut visitor = Wire::connect(self.relay.address).await;
        visitor.send(hosted(said)).await;
        visitor
    }

    /// What a visitor gets who has said this, until the relay closes the connection.
    pub async fn ask(&self, said: impl AsRef<[u8]>) -> Answer {
        raw(self.relay.address, hosted(said)).await
    }

    /// The next connection at the local server on which something is said.
    pub async fn local(&self) -> Wire {
        let accepting = async {
            loop {
                let (stream, _) = self.listener.accept().await.unwrap();
                // The client looks once whether anybody is there.
                if matches!(stream.peek(&mut [0]).await, Ok(1)) {
                    return Wire::new(stream);
                }
            }
        };
        let accepted = timeout(PATIENCE, accepting).await;
        accepted.expect("nobody came to the local server")
    }

    /// A visitor's request, and where it arrived, with its head.
    pub async fn call(&self, said: impl AsRef<[u8]>) -> (Wire, Wire, String) {
        let visitor = self.visitor(said).await;
        let mut local = self.local().await;
        let head = local.head().await;
        (visitor, local, head)
    }
}

/// A relay in whose domain `example` tenants are.
pub async fn example(change: impl FnOnce(&mut ggrok_server::Config)) -> Relay {
    Relay::with(|config| {
        config.domain = Some("example".parse().unwrap());
        change(config);
    })
    .await
}

/// The settings of a client that is visited as NAME.example: there is one kind of claim for each
/// of the originals.
pub fn tenant(
    relay: &Relay,
    local: SocketAddr,
    dialect: Dialect,
    name: &str,
) -> ggrok_client::Config {
    let relay = relay.address.to_string().parse().unwrap();
    let local: ggrok_client::LocalAddress = local.to_string().parse().unwrap();
    let mut config = ggrok_client::Config::new(relay, local);
    config.dialect = Some(dialect);
    config.claim = match dialect {
        Dialect::MagicMirror => Claim::Mirror(ggrok_client::Mirror::new(name.parse().unwrap())),
        _ => Claim::OtherHost(format!("{name}.example").parse().unwrap()),
    };
    config
}

/// Bytes with the Host field in the place of `HOST`.
pub fn hosted(said: impl AsRef<[u8]>) -> Vec<u8> {
    let (word, field) = (b"HOST", b"Host: app.example");
    let mut hosted = Vec::new();
    let mut rest = said.as_ref();
    while let Some(at) = rest.windows(word.len()).position(|window| window == word) {
        hosted.extend_from_slice(&rest[..at]);
        hosted.extend_from_slice(field);
        rest = &rest[at + word.len()..];
    }
    hosted.extend_from_slice(rest);
    hosted
}
