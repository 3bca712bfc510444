//! The relay's accept loop, and its orderly end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::crowd::Guest;
use crate::door::{Door, Room};
use crate::error::RelayError;
use crate::metrics::Shed;
use crate::peer::Peer;
use crate::{Config, Relay, pages, turned_away, visitor};

/// Serves visitors and clients on a listener until `shutdown` is done, and then ends in order: no
/// new connections; the clients are told; the calls in flight finish, within
/// [`Config::grace_period`]; the tunnels are closed. Dropping the future ends all connections of visitors at once.
pub async fn serve(listener: TcpListener, config: Config, shutdown: impl Future<Output = ()>) {
    let grace_period = config.grace_period;
    if let Err(error) = keep_alive(&listener) {
        tracing::warn!(%error, "visitors who are gone without a word are not found out");
    }
    let door = Door::new(listener, config.connections, config.metrics.clone());
    let mut server = Server::new(config);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = server.visitors.join_next() => {}
            (stream, peer, room) = door.accept() => server.receive(&door, stream, peer, room),
        }
    }
    let (listener, places) = door.close();
    if let Err(error) = server.welcome_last(listener, &places) {
        tracing::warn!(%error, "visitors who had just connected are lost");
    }
    server.finish(grace_period).await;
}

/// A relay at work.
struct Server {
    relay: Relay,
    pages: Router,
    /// Owns the connection of every visitor.
    visitors: JoinSet<()>,
    draining: CancellationToken,
}

impl Server {
    fn new(config: Config) -> Self {
        let relay = Relay::new(config);
        Self {
            pages: pages::router(Arc::clone(&relay.0)),
            relay,
            visitors: JoinSet::new(),
            draining: CancellationToken::new(),
        }
    }

    /// Serves a connection, or tells it that there is no room for it.
    fn receive(&mut self, door: &Door, stream: TcpStream, peer: SocketAddr, room: Room) {
        let place = match room {
            Room::Place(place) => place,
            Room::Parting(parting) => {
                let error = self.relay.0.shed(Shed::Connections);
                return self.turn_away(stream, error, parting);
            }
        };
        match self.enter(peer) {
            Ok(guest) => self.welcome(stream, peer, (place, guest)),
            Err(why) => {
                // Counted whether or not there is room to tell it.
                let error = self.relay.0.shed(why);
                if let Some(parting) = door.parting() {
                    self.turn_away(stream, error, parting);
                }
            }
        }
    }

    /// Behind routers of ours all connections are theirs.
    fn enter(&self, peer: SocketAddr) -> Result<Option<Guest>, Shed> {
        let app = &self.relay.0;
        if app.config.trusted_hops > 0 {
            return Ok(None);
        }
        let guest = app.connected.enter(peer.ip());
        guest.map(Some).ok_or(Shed::Address)
    }

    fn turn_away(&mut self, stream: TcpStream, error: RelayError, parting: OwnedSemaphorePermit) {
        self.visitors.spawn(async move {
            turned_away::answer(stream, error).await;
            drop(parting);
        });
    }

    /// Serves a connection, which has its room for so long.
    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr, room: impl Send + Sync + 'static) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "a visitor left before it was served");
            return;
        }
        let (app, pages) = (Arc::clone(&self.relay.0), self.pages.clone());
        let draining = self.draining.clone();
        let metrics = app.config.metrics.clone();
        self.visitors.spawn(async move {
            let _counted = metrics.during(|counts| &counts.connections);
            let peer = Peer::with_room(peer.ip(), room);
            visitor::serve(stream, peer, app, pages, draining).await;
        });
    }

    /// Takes in whom the kernel has accepted already, and closes the listener, which would reset
    /// them.
    fn welcome_last(&mut self, listener: TcpListener, places: &Arc<Semaphore>) -> io::Result<()> {
        let listener = listener.into_std()?;
        while let Ok(place) = Arc::clone(places).try_acquire_owned()
            && let Ok((stream, peer)) = listener.accept()
        {
            stream.set_nonblocking(true)?;
            self.welcome(TcpStream::from_std(stream)?, peer, place);
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
