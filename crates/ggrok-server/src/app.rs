//! What the relay's parts share.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::registry::Registry;
use crate::{Config, Event};

/// Who watches a relay.
pub(crate) type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// What the handlers share. When the last of its users drops it, all tunnels close.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) observer: Observer,
    pub(crate) registry: Registry,
    /// Until when requests wait for their clients.
    pub(crate) settled: Instant,
    /// Owns the task of every tunnel.
    pub(crate) tunnels: TaskTracker,
    /// Owns the task of every upgraded connection. It ends with its tunnel.
    pub(crate) upgrades: TaskTracker,
    /// Ends every tunnel.
    pub(crate) stop: CancellationToken,
}

impl App {
    pub(crate) fn new(config: Config, observer: Observer) -> Self {
        Self {
            registry: Registry::new(config.tunnels, config.tunnels_of_one),
            settled: Instant::now() + config.settling_time,
            config,
            observer,
            tunnels: TaskTracker::new(),
            upgrades: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
