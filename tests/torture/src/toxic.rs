//! A relay of TCP connections that does to them what bad networks do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// What is done to all bytes, both ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    /// They pass, this late, give or take a tenth, and at most so many a second.
    Open { delay: Duration, rate: Option<u32> },
    /// They are swallowed, while all sockets stay open; nobody who connects hears anything.
    Swallowed,
    /// All connections are reset, and so is whoever connects.
    Cut,
}

impl Weather {
    pub const FAIR: Self = Self::Open {
        delay: Duration::ZERO,
        rate: None,
    };
}

/// A toxic relay. Dropping it cuts all connections.
pub struct Toxic {
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    accepted: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Drop for Toxic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Toxic {
    /// Starts one in fair weather before a listener.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, seen) = watch::channel(Weather::FAIR);
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, target, seen, Arc::clone(&accepted)));
        let task = task.abort_handle();
        Self {
            address,
            weather,
            accepted,
            task,
        }
    }

    pub fn turn(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    weather: watch::Receiver<Weather>,
    accepted: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            Ok((stream, _)) = listener.accept() => {
                accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(relay(stream, target, weather.clone()));
            }
        }
    }
}

async fn relay(near: TcpStream, target: SocketAddr, mut weather: watch::Receiver<Weather>) {
    // Whatever ends this, the peers see a reset.
    near.set_zero_linger().ok();
    near.set_nodelay(true).ok();
    if *weather.borrow() == Weather::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    far.set_nodelay(true).ok();
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let passing = async {
        tokio::join!(
            pass(near_in, far_out, weather.clone()),
            pass(far_in, near_out, weather.clone())
        )
    };
    let mut storm = weather.clone();
    tokio::select! {
        _ = passing => {}
        _ = storm.wait_for(|weather| *weather == Weather::Cut) => {}
    }
    weather.borrow_and_update();
}

/// Passes bytes one way. What was swallowed is lost, and so is the connection from then on.
async fn pass(mut from: OwnedReadHalf, to: OwnedWriteHalf, weather: watch::Receiver<Weather>) {
    let (sender, receiver) = mpsc::channel(1024);
    let writing = tokio::spawn(write(to, receiver));
    let mut free_at = Instant::now();
    let mut buffer = vec![0; 16 << 10];
    let mut lost = false;
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let now = *weather.borrow();
        let Weather::Open { delay, rate } = now else {
            lost = true;
            continue;
        };
        if lost {
            continue;
        }
        if let Some(rate) = rate {
            let took = Duration::from_secs_f64(read as f64 / f64::from(rate));
            free_at = free_at.max(Instant::now()) + took;
            sleep_until(free_at).await;
        }
        let due = Instant::now() + delay.mul_f64(0.9 + 0.2 * fastrand::f64());
        if sender.send((due, buffer[..read].to_vec())).await.is_err() {
            break;
        }
    }
    if lost {
        // A half-open connection: nothing closes it.
        std::future::pending::<()>().await;
    }
    drop(sender);
    writing.await.ok();
}

async fn write(mut to: OwnedWriteHalf, mut due: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((when, bytes)) = due.recv().await {
        sleep_until(when).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    to.shutdown().await.ok();
    // The other direction may go on.
    sleep(Duration::ZERO).await;
}

#[cfg(test)]
mod tests {
    use super::{Toxic, Weather};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{Instant, timeout};

    async fn echoed(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
        stream.write_all(b"ping").await?;
        let mut back = [0; 4];
        stream.read_exact(&mut back).await?;
        Ok(back)
    }

    #[tokio::test]
    async fn passes_delays_swallows_and_cuts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let toxic = Toxic::before(target).await;
        let mut stream = TcpStream::connect(toxic.address).await.unwrap();
        assert_eq!(&echoed(&mut stream).await.unwrap(), b"ping");
        let delay = Duration::from_millis(50);
        toxic.turn(Weather::Open { delay, rate: None });
        let asked = Instant::now();
        assert_eq!(&echoed(&mut stream).await.unwrap(), b"ping");
        assert!(asked.elapsed() >= Duration::from_millis(90));
        toxic.turn(Weather::Swallowed);
        let silent = timeout(Duration::from_millis(300), echoed(&mut stream)).await;
        assert!(silent.is_err(), "it is neither answered nor closed");
        toxic.turn(Weather::Cut);
        assert!(echoed(&mut stream).await.is_err());
        assert_eq!(toxic.accepted(), 1);
    }
}
