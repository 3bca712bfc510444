//! The relay's listener, which goes on accepting connections where the system runs short of files.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::limits::connections::Connections;

/// A listener, and the connections that came by it.
pub(crate) struct Door {
    listener: TcpListener,
    connections: Connections,
    /// When the system was last complained of.
    complained: Mutex<Option<Instant>>,
}

impl Door {
    /// Makes a door of a listener.
    pub(crate) fn new(listener: TcpListener, connections: Connections) -> Self {
        Self {
            listener,
            connections,
            complained: Mutex::default(),
        }
    }

    /// Waits for a connection. Cancel-safe.
    pub(crate) async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    self.complain(&error);
                    let closes_one = self.connections.give_way();
                    sleep(if closes_one { CLOSING } else { PAUSE }).await;
                }
            }
        }
    }

    /// Gives up the listener, for what the kernel has accepted already.
    pub(crate) fn close(self) -> TcpListener {
        self.listener
    }

    /// Says it once a minute, and not at every attempt.
    fn complain(&self, error: &io::Error) {
        self.connections.ran_out_of_files();
        let complained = self.complained.lock();
        let mut complained = complained.unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|last| last.elapsed() >= COMPLAINTS) {
            *complained = Some(Instant::now());
            tracing::error!(%error, "cannot accept connections; is the limit of open files reached?");
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

/// How long after a complaint there is no other.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// How long to wait before accepting again where the system has no resources for it.
const PAUSE: Duration = Duration::from_millis(100);

/// How long it takes to close an evicted connection.
const CLOSING: Duration = Duration::from_millis(1);
