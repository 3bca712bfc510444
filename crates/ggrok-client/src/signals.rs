//! The signals that stop the client.

use std::io;

use tokio_util::sync::CancellationToken;

/// The signals that stop the client, from when it listens to them on.
#[cfg(unix)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    async fn interrupt(&mut self) {
        self.interrupt.recv().await;
    }
}

/// The signals that stop the client: Ctrl-C alone.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn any(&mut self) {
        self.interrupt().await;
    }

    async fn interrupt(&mut self) {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen for Ctrl-C");
            std::future::pending().await
        }
    }
}

impl Signals {
    /// Stops the client at the first signal, and returns at a Ctrl-C behind it: somebody does not want to
    /// wait. SIGTERM says the same however often it comes, as platforms send it.
    pub(crate) async fn watch(mut self, stop: &CancellationToken) {
        self.any().await;
        stop.cancel();
        self.interrupt().await;
    }
}
