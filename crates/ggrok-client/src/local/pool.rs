//! Connections to the local server that wait for their next request.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::poll_immediate;
use ggrok_protocol::{Flush, FlushedBody, TunnelBody};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{Instant, sleep};

use super::LocalError;
use super::in_pieces::Start;
use crate::HostCheck;

/// One connection to the local server. Dropping it closes the connection, unless that has become
/// another protocol's.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<RequestBody>,
    flush: Flush,
    start: Start,
    task: AbortHandle,
}

/// A request's body on its way to the local server, which gets all that came of it.
type RequestBody = FlushedBody<TunnelBody>;

impl Connection {
    /// Takes over a connection, and the task that drives it.
    pub(super) const fn new(
        sender: SendRequest<RequestBody>,
        flush: Flush,
        start: Start,
        task: AbortHandle,
    ) -> Self {
        Self {
            sender,
            flush,
            start,
            task,
        }
    }

    /// Sends a request. One that was not sent is returned with the error.
    pub(super) async fn send(
        &mut self,
        request: Request<TunnelBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        let request = request.map(|body| FlushedBody::new(body, self.flush.clone()));
        self.sender.try_send_request(request).await
    }

    /// The reason why a request on this connection has no response.
    pub(super) fn failure(&self, error: hyper::Error) -> LocalError {
        let known = || HostCheck::of_foreign(self.start.bytes());
        match error.is_parse().then(known).flatten() {
            Some(check) => LocalError::Foreign(error, check),
            None => LocalError::Broken(error),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Idle connections.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// The youngest last, each with the time since which it is idle.
    idle: Mutex<Vec<(Connection, Instant)>>,
    filled: Notify,
}

impl Pool {
    /// Takes the youngest connection that is open and ready for a request. A request that must not be sent
    /// again gets only one that the local server cannot be about to close; older ones stay in the pool.
    pub(super) async fn take(&self, may_repeat: bool) -> Option<Connection> {
        loop {
            let mut connection = if may_repeat {
                self.pop()?
            } else {
                self.pop_recent()?
            };
            if !may_repeat || !connection.sender.is_ready() {
                // Its task may not have had a turn since the last response, or since the other end closed.
                yield_now().await;
            }
            if let Some(Ok(())) = poll_immediate(connection.sender.ready()).await {
                return Some(connection);
            }
        }
    }

    fn pop(&self) -> Option<Connection> {
        Some(self.idle().pop()?.0)
    }

    fn pop_recent(&self) -> Option<Connection> {
        let now = Instant::now();
        let is_recent =
            |(_, since): &mut (_, Instant)| now.saturating_duration_since(*since) < RECENT;
        Some(self.idle().pop_if(is_recent)?.0)
    }

    /// Gives a connection back after a response that was read whole.
    pub(super) fn put(&self, connection: Connection) {
        let now = Instant::now();
        let mut idle = self.idle();
        if idle.len() < MOST && !connection.sender.is_closed() {
            idle.push((connection, now));
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

/// Node closes idle connections after 5 s, and a request that meets the close is lost. Since the pool is
/// looked through once a round, a connection is closed when it is between 3.5 and 4 s old.
const IDLE: Duration = Duration::from_millis(3500);
const ROUND: Duration = Duration::from_millis(500);

/// Far below the keep-alive times of common servers (1 to 75 s), and more than lies between the requests of
/// a burst. To open another connection costs little where the pause was longer.
const RECENT: Duration = Duration::from_millis(100);

/// Idle connections that are kept. With fewer than there are calls at a time, each call beyond them would
/// open a connection of its own.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    use super::{Connection, Flush, Pool, ROUND, RequestBody, Start};

    /// Puts a connection into the pool, and returns its far end.
    async fn put(pool: &Pool) -> DuplexStream {
        let (near, far) = duplex(64);
        let (sender, connection) = http1::handshake::<_, RequestBody>(TokioIo::new(near))
            .await
            .unwrap();
        let task = tokio::spawn(async move {
            connection.await.ok();
        });
        let connection = Connection::new(
            sender,
            Flush::default(),
            Start::default(),
            task.abort_handle(),
        );
        pool.put(connection);
        far
    }

    #[tokio::test(start_paused = true)]
    async fn closes_connections_before_a_server_would() {
        let pool = Pool::default();
        let ages = async {
            let mut ages = Vec::new();
            for _ in 0..3 {
                let (start, mut far) = (Instant::now(), put(&pool).await);
                assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
                ages.push(start.elapsed());
                // Others come within a round.
                sleep(ROUND / 3).await;
                let _kept = put(&pool).await;
                sleep(ROUND / 3).await;
            }
            ages
        };
        let ages = tokio::select! {
            never = pool.close_idle() => match never {},
            ages = ages => ages,
        };
        let expected = Duration::from_millis(3500)..=Duration::from_secs(4);
        assert!(ages.iter().all(|age| expected.contains(age)), "{ages:?}");
        assert!(ages.iter().any(|age| *age != ages[0]), "{ages:?}");
    }
}
