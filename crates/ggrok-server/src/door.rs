//! The relay's door: lets connections in as long as there is room, and a few more to be told.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use crate::metrics::{Metrics, Shed};

/// A listener, and the room behind it.
pub(crate) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    /// For those who are told that there is no place. Whoever finds none even here waits in the
    /// kernel's queue.
    partings: Arc<Semaphore>,
    metrics: Metrics,
    /// When the system was last complained of.
    complained: Mutex<Option<Instant>>,
}

/// What there is for a connection, until it is dropped.
pub(crate) enum Room {
    /// A place.
    Place(OwnedSemaphorePermit),
    /// Enough to be told that there is no place.
    Parting(OwnedSemaphorePermit),
}

impl Door {
    /// Makes a door with so many places behind it.
    pub(crate) fn new(listener: TcpListener, places: usize, metrics: Metrics) -> Self {
        Self {
            listener,
            places: Arc::new(Semaphore::new(places)),
            partings: Arc::new(Semaphore::new(PARTINGS)),
            metrics,
            complained: Mutex::default(),
        }
    }

    /// Waits for a connection for which there is room of one kind. Cancel-safe.
    pub(crate) async fn accept(&self) -> (TcpStream, SocketAddr, Room) {
        loop {
            let room = tokio::select! {
                biased;
                place = acquire(&self.places) => Room::Place(place),
                parting = acquire(&self.partings) => Room::Parting(parting),
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => return (stream, peer, self.best(room)),
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    self.complain(&error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Enough room to tell a connection that it is one too many, where there is some.
    pub(crate) fn parting(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.partings).try_acquire_owned().ok()
    }

    /// Gives up the listener, for what the kernel has accepted already, and the places.
    pub(crate) fn close(self) -> (TcpListener, Arc<Semaphore>) {
        (self.listener, self.places)
    }

    /// A place where one was given back while nobody came.
    fn best(&self, room: Room) -> Room {
        match (room, Arc::clone(&self.places).try_acquire_owned()) {
            (Room::Parting(_), Ok(place)) => Room::Place(place),
            (room, _) => room,
        }
    }

    /// Says it once a minute, and not at every attempt.
    fn complain(&self, error: &io::Error) {
        self.metrics.counts().shed(Shed::Files);
        let complained = self.complained.lock();
        let mut complained = complained.unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|last| last.elapsed() >= COMPLAINTS) {
            *complained = Some(Instant::now());
            tracing::error!(%error, "cannot accept connections; is the limit of open files reached?");
        }
    }
}

async fn acquire(room: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let place = Arc::clone(room).acquire_owned().await;
    place.expect("the semaphore is never closed")
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted | K::ConnectionRefused | K::ConnectionReset
    )
}

/// Connections at a time that are told that there is no place.
const PARTINGS: usize = 64;

/// How long after a complaint there is no other.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// How long to wait before accepting again where the system has no resources for it.
const PAUSE: Duration = Duration::from_millis(100);
