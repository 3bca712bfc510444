//! Connections to the local server that wait for their next request.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::poll_immediate;
use ggrok_protocol::TunnelBody;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, sleep};

/// One connection to the local server. Dropping it closes the connection, unless that has become
/// another protocol's.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) sender: SendRequest<TunnelBody>,
    task: AbortHandle,
}

impl Connection {
    /// Takes over a connection, and the task that drives it.
    pub(super) const fn new(sender: SendRequest<TunnelBody>, task: AbortHandle) -> Self {
        Self { sender, task }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Idle connections, the youngest last.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<(Connection, Instant)>>,
    filled: Notify,
}

impl Pool {
    /// Takes the youngest connection that is open and ready for a request. One that is not, because
    /// the local server answered without reading the whole request before, is closed.
    pub(super) async fn take(&self) -> Option<Connection> {
        loop {
            let (mut connection, since) = self.idle().pop()?;
            if since.elapsed() >= IDLE {
                continue;
            }
            if !connection.sender.is_ready() {
                // Its task may not have had a turn since the last response.
                yield_now().await;
            }
            if let Some(Ok(())) = poll_immediate(connection.sender.ready()).await {
                return Some(connection);
            }
        }
    }

    /// Gives a connection back after a response that was read whole.
    pub(super) fn put(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < MOST && !connection.sender.is_closed() {
            idle.push((connection, Instant::now()));
            self.filled.notify_one();
        }
    }

    /// Closes what has been idle for too long, for as long as it is awaited.
    pub(super) async fn close_idle(&self) -> Infallible {
        loop {
            self.filled.notified().await;
            while !self.idle().is_empty() {
                sleep(ROUND).await;
                self.idle().retain(|(_, since)| since.elapsed() < IDLE);
            }
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Node closes idle connections after 5 s, and a request that meets the close is lost. With the
/// round below no connection is older than 4 s.
const IDLE: Duration = Duration::from_millis(3500);
const ROUND: Duration = Duration::from_millis(500);

/// Idle connections that are kept. With fewer than there are calls at a time, each call beyond them would
/// open a connection of its own.
const MOST: usize = 256;
