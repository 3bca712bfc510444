//! A relay as an app embeds it: its routes, its tunnels, its end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::time::timeout;

use crate::app::App;
use crate::place::Place;
use crate::{Config, Event, Host, MirrorName, Owner, Tunnel, mirrors};

/// A relay: the clients that registered with it, and the ways to reach them. Clones are the same
/// relay; when the last one and its router are dropped, all tunnels close.
#[derive(Clone)]
pub struct Relay(pub(crate) Arc<App>);

impl Relay {
    /// Makes a relay.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::observed(config, |_| {})
    }

    /// Makes a relay whose `observer` is told what happens. It must not block.
    #[must_use]
    pub fn observed(config: Config, observer: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(App::new(config, Arc::new(observer))))
    }

    /// The routes for an app to nest under a path of its choice: mirrors register at `PATH/mirror`
    /// and are listed, described, closed and called under `PATH/mirrors`.
    ///
    /// Where the app serves with `into_make_service_with_connect_info::<SocketAddr>()`, the relay
    /// knows where its clients and callers come from. Where it does not, there is no bound on wrong
    /// tokens ([`Config::wrong_tokens`]).
    pub fn router(&self) -> Router {
        mirrors::router(Arc::clone(&self.0))
    }

    /// All tunnels that are connected, in no order.
    #[must_use]
    pub fn tunnels(&self) -> Vec<Tunnel> {
        self.0.registry.tunnels()
    }

    /// The mirrors of an owner that are connected, by their names.
    #[must_use]
    pub fn mirrors(&self, owner: &Owner) -> Vec<Tunnel> {
        self.0.registry.mirrors(owner)
    }

    /// A mirror of an owner, where it is connected.
    #[must_use]
    pub fn mirror(&self, owner: &Owner, name: &MirrorName) -> Option<Tunnel> {
        let place = Place::Mirror(owner.clone(), name.clone());
        self.0.registry.tunnel(&place).ok()
    }

    /// The tunnel that serves the visitors of a host, where it is connected.
    #[must_use]
    pub fn host(&self, host: &Host) -> Option<Tunnel> {
        self.0.registry.tunnel(&Place::Host(host.clone())).ok()
    }

    /// The tunnels of an owner that serve hosts and are connected, by these hosts.
    #[must_use]
    pub fn hosts(&self, owner: &Owner) -> Vec<Tunnel> {
        let hosts = self.0.registry.hosts(Some(owner)).into_iter();
        hosts.filter_map(|held| held.tunnel).collect()
    }

    /// Gives a host free, whoever has it and whether its client is connected or not, and closes the
    /// tunnel that serves it as [`Tunnel::close`] does. Returns whose it was, where it was anybody's.
    pub fn release(&self, host: &Host) -> Option<Owner> {
        self.0.registry.release(host, None)
    }

    /// Tells the clients to look for another relay, since this one will stop. It takes no more of them:
    /// one that came back would end the calls of the connection that it left.
    pub fn go_away(&self) {
        for tunnel in self.0.registry.close() {
            tunnel.go_away();
        }
    }

    /// Closes all tunnels, and waits for at most 2 s until their clients have taken it. The relay
    /// cannot be used any more. Not cancel-safe: without a wait the rest is cut.
    pub async fn close(&self) {
        self.0.end();
        self.0.tunnels.close();
        self.0.upgrades.close();
        let farewell = async {
            self.0.tunnels.wait().await;
            self.0.upgrades.wait().await;
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::warn!("some clients did not take their farewell");
        }
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relay")
    }
}

/// How long all tunnels together may take to close.
const FAREWELL: Duration = Duration::from_secs(2);
