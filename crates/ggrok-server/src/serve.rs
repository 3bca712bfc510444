//! The relay's accept loop, and its orderly end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Shed;
use crate::{Config, Metrics, Relay, pages, visitor};

/// Serves visitors and clients on a listener until `shutdown` is done, and then ends in order: no
/// new connections; the clients are told; the calls in flight finish, within
/// [`Config::grace_period`]; the tunnels are closed. Dropping the future ends all connections of visitors at once.
pub async fn serve(listener: TcpListener, config: Config, shutdown: impl Future<Output = ()>) {
    let grace_period = config.grace_period;
    let metrics = config.metrics.clone();
    let mut server = Server::new(config);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = server.visitors.join_next() => {}
            (stream, peer, place) = accept(&listener, &server.places, &metrics) => {
                server.welcome(stream, peer, place);
            }
        }
    }
    if let Err(error) = server.welcome_last(listener) {
        tracing::warn!(%error, "visitors who had just connected are lost");
    }
    server.finish(grace_period).await;
}

/// Waits for a connection for which there is a place.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    metrics: &Metrics,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let place = Arc::clone(places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                metrics.counts().shed(Shed::Files);
                tracing::error!(%error, "cannot accept connections; is the limit of open files reached?");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted | K::ConnectionRefused | K::ConnectionReset
    )
}

/// A relay at work.
struct Server {
    relay: Relay,
    pages: Router,
    places: Arc<Semaphore>,
    /// Owns the connection of every visitor.
    visitors: JoinSet<()>,
    draining: CancellationToken,
}

impl Server {
    fn new(config: Config) -> Self {
        let places = Arc::new(Semaphore::new(config.connections));
        let relay = Relay::new(config);
        Self {
            pages: pages::router(Arc::clone(&relay.0)),
            relay,
            places,
            visitors: JoinSet::new(),
            draining: CancellationToken::new(),
        }
    }

    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "a visitor left before it was served");
            return;
        }
        let (app, pages) = (Arc::clone(&self.relay.0), self.pages.clone());
        let draining = self.draining.clone();
        let metrics = app.config.metrics.clone();
        self.visitors.spawn(async move {
            let _counted = metrics.during(|counts| &counts.connections);
            visitor::serve(stream, peer.ip(), app, pages, draining).await;
            drop(place);
        });
    }

    /// Takes in whom the kernel has accepted already, and closes the listener, which would reset
    /// them.
    fn welcome_last(&mut self, listener: TcpListener) -> io::Result<()> {
        let listener = listener.into_std()?;
        while let Ok(place) = Arc::clone(&self.places).try_acquire_owned()
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

/// How long to wait before accepting again where the system has no resources for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
