//! A whole relay over pipes in memory, between visitors and a client of which none keeps the rules.

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::stream::Last;
use crate::visitor::{PausingStream, http1};
use crate::{Access, Config, Relay, pages};

/// Runs a relay under a list of operations. Whatever its peers say, it neither panics nor holds on to
/// a connection or a tunnel whose peer has gone, and all that a visitor gets is HTTP.
pub fn relay(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(async {
        let mut stage = Stage::new();
        stage.register(true).await;
        for (what, bytes) in steps(data) {
            stage.step(what, bytes).await;
        }
        stage.end().await;
    });
}

/// The operations on a list: a byte for what to do, a byte for how much.
fn steps(operations: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = operations;
    std::iter::from_fn(move || {
        let (&[what, length], behind) = rest.split_first_chunk()?;
        let (bytes, behind) = behind.split_at(behind.len().min(length.into()));
        rest = behind;
        Some((what, bytes))
    })
}

/// A relay with those who have to do with it.
struct Stage {
    app: Arc<App>,
    pages: Router,
    draining: CancellationToken,
    connections: JoinSet<()>,
    client: Option<DuplexStream>,
    visitors: Vec<Visitor>,
}

/// A visitor's end of its connection, and what it got.
struct Visitor {
    stream: DuplexStream,
    got: Vec<u8>,
}

impl Stage {
    fn new() -> Self {
        let mut config = Config::new(Access::open(), 0);
        config.settling_time = Duration::ZERO;
        config.limits.calls = 4;
        config.limits.body = 1 << 10;
        config.limits.stream_idle = Duration::from_secs(30);
        config.limits.answer_timeout = Duration::from_secs(30);
        let app = Arc::new(App::new(config, Arc::new(|_| {})));
        Self {
            pages: pages::router(Arc::clone(&app)),
            app,
            draining: CancellationToken::new(),
            connections: JoinSet::new(),
            client: None,
            visitors: Vec::new(),
        }
    }

    fn connect(&mut self) -> DuplexStream {
        let (near, far) = duplex(PIPE);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST).into();
        let (app, pages) = (Arc::clone(&self.app), self.pages.clone());
        let draining = self.draining.clone();
        let near = PausingStream::new(near, Arc::default());
        let last = Last::default();
        let serving = http1::until_end(near, pending(), last, peer, app, pages, draining);
        self.connections.spawn(serving.map(drop));
        far
    }

    /// A client registers in one dialect or the other, in the place of the one before.
    async fn register(&mut self, in_v2: bool) {
        let mut client = self.connect();
        let offer = if in_v2 {
            "Sec-WebSocket-Protocol: ggrok.v2\r\n"
        } else {
            ""
        };
        let handshake = format!(
            "GET /$$ggrok HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        say(&mut client, handshake.as_bytes()).await;
        let mut answer = [0; 12];
        let answered = timeout(MOMENT, client.read_exact(&mut answer)).await;
        assert!(matches!(answered, Ok(Ok(_))), "no answer to a handshake");
        assert_eq!(&answer, b"HTTP/1.1 101");
        self.client = Some(client);
    }

    async fn step(&mut self, what: u8, bytes: &[u8]) {
        match what % 10 {
            0 => self.visit(bytes).await,
            1 => {
                let line = b"POST /x HTTP/1.1\r\nHost: a.example\r\n";
                self.visit(&[line, bytes, b"\r\n\r\n"].concat()).await;
            }
            2 => {
                self.leave();
                self.visit(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
                    .await;
            }
            3 => self.frame(0x82, bytes).await,
            4 => self.frame(0x81, bytes).await,
            5 => self.client_says(bytes).await,
            6 => self.everybody_reads().await,
            7 => self.leave(),
            8 => self.register(bytes.is_empty()).await,
            _ => {
                let seconds = bytes.first().copied().unwrap_or(1);
                sleep(Duration::from_secs(seconds.into())).await;
            }
        }
    }

    /// The newest visitor says something; a first one comes for it.
    async fn visit(&mut self, bytes: &[u8]) {
        if self.visitors.is_empty() {
            self.come();
        }
        if let Some(visitor) = self.visitors.last_mut() {
            say(&mut visitor.stream, bytes).await;
        }
    }

    fn come(&mut self) {
        let stream = self.connect();
        let got = Vec::new();
        self.visitors.push(Visitor { stream, got });
    }

    /// One visitor comes, and the oldest of too many leaves.
    fn leave(&mut self) {
        self.come();
        if self.visitors.len() > 3 {
            self.visitors.remove(0).check();
        }
    }

    /// The client sends a message of its WebSocket (RFC 6455, section 5.2), masked by nothing.
    async fn frame(&mut self, kind: u8, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).expect("a step is short");
        let [high, low] = length.to_be_bytes();
        let head = [kind, 0x80 | 126, high, low, 0, 0, 0, 0];
        self.client_says(&[&head, bytes].concat()).await;
    }

    async fn client_says(&mut self, bytes: &[u8]) {
        if let Some(client) = &mut self.client {
            say(client, bytes).await;
        }
    }

    async fn everybody_reads(&mut self) {
        if let Some(client) = &mut self.client {
            listen(client, &mut Vec::new()).await;
        }
        for visitor in &mut self.visitors {
            listen(&mut visitor.stream, &mut visitor.got).await;
        }
    }

    /// All peers leave, and nothing of them stays.
    async fn end(mut self) {
        self.everybody_reads().await;
        self.client = None;
        for visitor in self.visitors {
            visitor.check();
        }
        let ending = async {
            while let Some(ended) = self.connections.join_next().await {
                assert!(ended.is_ok(), "a connection panicked");
            }
        };
        let ended = timeout(Duration::from_secs(600), ending).await;
        ended.expect("a connection outlived its peer");
        let relay = Relay(self.app);
        relay.close().await;
        assert!(relay.0.tunnels.is_empty(), "a tunnel outlived its client");
        assert!(relay.0.upgrades.is_empty(), "an upgrade outlived its peers");
        assert_eq!(relay.tunnels().len(), 0);
    }
}

impl Visitor {
    fn check(self) {
        let shown = self.got.len().min(7);
        assert_eq!(self.got[..shown], b"HTTP/1."[..shown]);
    }
}

/// Says as much as the other side takes.
async fn say(stream: &mut DuplexStream, bytes: &[u8]) {
    timeout(MOMENT, stream.write_all(bytes)).await.ok();
}

async fn listen(stream: &mut DuplexStream, got: &mut Vec<u8>) {
    timeout(MOMENT, stream.read_to_end(got)).await.ok();
}

/// How long a peer waits for anything.
const MOMENT: Duration = Duration::from_millis(500);

/// Bytes that are on their way in a connection.
const PIPE: usize = 16 << 10;
