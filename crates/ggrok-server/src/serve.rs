//! The relay's accept loop, and its orderly end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::door::Door;
use crate::limits::connections::{Bounds, Connections, Seat, TICK};
use crate::limits::open_files;
use crate::metrics::Shed;
use crate::peer::Peer;
use crate::{Config, Relay, pages, provisional, visitor};

/// Serves visitors and clients on a listener until `shutdown` is done, and then ends in order: no
/// new connections; the clients are told; the calls in flight finish, within
/// [`Config::grace_period`]; the tunnels are closed. Dropping the future ends all connections of visitors at once.
pub async fn serve(listener: TcpListener, config: Config, shutdown: impl Future<Output = ()>) {
    let grace_period = config.grace_period;
    if let Err(error) = keep_alive(&listener) {
        tracing::warn!(%error, "visitors who are gone without a word are not found out");
    }
    let mut server = Server::new(config);
    let door = Door::new(listener, server.service.connections.clone());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = server.visitors.join_next() => {}
            (stream, peer) = door.accept() => server.receive(stream, peer),
            _ = ticks.tick(), if server.service.connections.is_crowded() => {
                server.service.connections.tick();
            }
        }
    }
    if let Err(error) = server.welcome_last(door.close()) {
        tracing::warn!(%error, "visitors who had just connected are lost");
    }
    server.finish(grace_period).await;
}

/// A relay at work.
struct Server {
    relay: Relay,
    service: Service,
    /// Owns the connection of every visitor.
    visitors: JoinSet<()>,
    draining: CancellationToken,
}

/// Serves connections. Clones are the same.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) app: Arc<App>,
    pages: Router,
    connections: Connections,
    draining: CancellationToken,
}

impl Service {
    /// Serves a connection to its end, from which `said` has been read.
    pub(crate) async fn serve(self, stream: TcpStream, said: Bytes, peer: Peer) {
        let _counted = self.app.config.metrics.during(|counts| &counts.connections);
        visitor::serve(stream, said, peer, self.app, self.pages, self.draining).await;
    }

    /// The same, for one request.
    pub(crate) fn last(mut self) -> Self {
        self.draining = CancellationToken::new();
        self.draining.cancel();
        self
    }
}

impl Server {
    fn new(config: Config) -> Self {
        let relay = Relay::new(config);
        let connections = connections(&relay.0);
        let draining = CancellationToken::new();
        let service = Service {
            app: Arc::clone(&relay.0),
            pages: pages::router(Arc::clone(&relay.0)),
            connections,
            draining: draining.clone(),
        };
        Self {
            relay,
            service,
            visitors: JoinSet::new(),
            draining,
        }
    }

    /// Serves a connection, or lets it show that it is a client's where there is no place for it.
    fn receive(&mut self, stream: TcpStream, peer: SocketAddr) {
        let connections = &self.service.connections;
        match connections.enter(peer.ip()) {
            Ok(seat) => self.welcome(stream, peer, seat),
            Err(why) => {
                let seat = connections.enter_provisionally(peer.ip());
                self.examine(stream, peer, seat, why);
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr, seat: Seat) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "a visitor left before it was served");
            return;
        }
        let eviction = seat.eviction();
        let peer = Peer::seated(peer.ip(), seat);
        let serving = self.service.clone().serve(stream, Bytes::new(), peer);
        eviction.aborts(self.visitors.spawn(serving));
    }

    fn examine(&mut self, stream: TcpStream, peer: SocketAddr, seat: Seat, why: Shed) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "a visitor left before it was served");
            return;
        }
        let eviction = seat.eviction();
        let peer = Peer::seated(peer.ip(), seat);
        let serving = provisional::serve(self.service.clone(), stream, peer, why);
        eviction.aborts(self.visitors.spawn(serving));
    }

    /// Takes in what the kernel has accepted already, and closes the listener, which would reset these
    /// connections.
    fn welcome_last(&mut self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        while let Ok((stream, peer)) = listener.accept()
            && let Ok(seat) = self.service.connections.enter(peer.ip())
        {
            stream.set_nonblocking(true)?;
            self.welcome(TcpStream::from_std(stream)?, peer, seat);
        }
        Ok(())
    }

    async fn finish(mut self, grace_period: Duration) {
        tracing::info!(tunnels = self.relay.tunnels().len(), "stopping");
        self.relay.0.config.metrics.counts().ready.set(0);
        self.relay.go_away();
        self.draining.cancel();
        let calls = async { while self.visitors.join_next().await.is_some() {} };
        if timeout(grace_period, calls).await.is_err() {
            let cut = self.visitors.len();
            tracing::warn!(cut, "the grace period is over; cutting calls in flight");
            self.visitors.shutdown().await;
        }
        // With them the upgraded connections, which have no end of their own.
        self.relay.close().await;
        tracing::info!("stopped");
    }
}

/// The table of all connections, as large as the settings and the system allow.
fn connections(app: &App) -> Connections {
    let config = &app.config;
    let bounds = Bounds {
        places: open_files::places(config.connections),
        provisional: PROVISIONAL,
        per_address: (config.trusted_hops == 0).then_some(config.per_address),
    };
    Connections::new(bounds, config.metrics.clone(), &app.memory)
}

/// Connections at a time, beyond all places, of which it is not yet known whether they are a client's.
const PROVISIONAL: usize = 64;

/// Has the system find out who is gone without a word: an upgraded connection may be quiet for as long as it
/// likes. What is accepted inherits it, so that it costs a connection nothing.
fn keep_alive(listener: &TcpListener) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE / 4);
    SockRef::from(listener).set_tcp_keepalive(&keepalive)
}

/// Silence after which a visitor's system is asked whether the visitor is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
