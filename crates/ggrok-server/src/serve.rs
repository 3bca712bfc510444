//! The relay's accept loop, and its orderly end.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use ggrok_protocol::{Ending, Tunnel};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::app::{self, App};
use crate::{Config, visitor};

/// Serves visitors and clients on a listener until `shutdown` is done, and then ends in order: no
/// new connections; the clients are told; the calls in flight finish, within
/// [`Config::grace_period`]; the tunnels are closed. Dropping the future ends all connections of visitors at once.
pub async fn serve(listener: TcpListener, config: Config, shutdown: impl Future<Output = ()>) {
    let grace_period = config.grace_period;
    let mut relay = Relay::new(config);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = relay.visitors.join_next() => {}
            (stream, peer, place) = accept(&listener, &relay.places) => {
                relay.welcome(stream, peer, place);
            }
        }
    }
    if let Err(error) = relay.welcome_last(listener) {
        tracing::warn!(%error, "visitors who had just connected are lost");
    }
    relay.finish(grace_period).await;
}

/// Waits for a connection for which there is a place.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let place = Arc::clone(places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
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
struct Relay {
    app: Arc<App>,
    pages: Router,
    places: Arc<Semaphore>,
    /// Owns the connection of every visitor.
    visitors: JoinSet<()>,
    draining: CancellationToken,
}

impl Relay {
    fn new(config: Config) -> Self {
        let places = Arc::new(Semaphore::new(config.connections));
        let app = Arc::new(App::new(config));
        Self {
            pages: app::pages(Arc::clone(&app)),
            app,
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
        let (app, pages) = (Arc::clone(&self.app), self.pages.clone());
        let draining = self.draining.clone();
        self.visitors.spawn(async move {
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
        tracing::info!(tunnels = self.app.registry.live(), "stopping");
        self.app.registry.each(Tunnel::go_away);
        self.draining.cancel();
        let calls = async { while self.visitors.join_next().await.is_some() {} };
        if timeout(grace_period, calls).await.is_err() {
            let cut = self.visitors.len();
            tracing::warn!(cut, "the grace period is over; cutting calls in flight");
            self.visitors.shutdown().await;
        }
        // Upgraded connections have no end of their own; theirs is their tunnel's.
        self.app
            .registry
            .each(|tunnel| tunnel.close(Ending::GoingAway));
        self.app.tunnels.close();
        self.app.upgrades.close();
        let farewell = async {
            self.app.tunnels.wait().await;
            self.app.upgrades.wait().await;
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("some clients did not take their farewell");
        }
        tracing::info!("stopped");
    }
}

/// How long to wait before accepting again where the system has no resources for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long all tunnels together may take to close.
const FAREWELL: Duration = Duration::from_secs(2);
