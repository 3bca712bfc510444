//! A long way between client and relay: passes connections on, and delays all that passes.
//!
//! What dials the link is connected at once, since a handshake cannot be held up from here. Its times
//! are kept instead: what the dialling side sends leaves a round trip after it dialled, when it would
//! have learnt of its connection; the listening side gets the connection half a round trip later.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;

use crate::clock::Clock;

/// Listens, says so on standard output, and passes on.
pub async fn play(listen: SocketAddr, to: SocketAddr, one_way: Duration) -> anyhow::Result<()> {
    let listener = crate::part::listener(listen)?;
    println!("listening on {listen}");
    let link = Link {
        to,
        one_way,
        clock: Clock::start(),
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("cannot accept")?;
                println!("dialled by somebody");
                connections.spawn(link.clone().connect(stream));
            }
        }
    }
}

#[derive(Clone)]
struct Link {
    to: SocketAddr,
    one_way: Duration,
    clock: Clock,
}

/// A piece on its way: when it arrives, and its bytes.
type Piece = (Instant, Vec<u8>);

impl Link {
    async fn connect(self, near: TcpStream) -> std::io::Result<()> {
        let dialled = Instant::now();
        near.set_nodelay(true)?;
        let (from_near, to_near) = near.into_split();
        // Sends before the far side has its connection, as TCP does.
        let (sent, arrives) = mpsc::channel(QUEUE);
        let sending = self.clone().read(from_near, sent);
        let passing = async {
            // There and back, and there again with the first bytes.
            self.clock.sleep_until(dialled + 3 * self.one_way).await;
            let far = TcpStream::connect(self.to).await?;
            far.set_nodelay(true)?;
            let (from_far, to_far) = far.into_split();
            let (answered, comes_back) = mpsc::channel(QUEUE);
            let answering = self.clone().read(from_far, answered);
            tokio::join!(
                self.write(arrives, to_far),
                answering,
                self.write(comes_back, to_near),
            );
            Ok(())
        };
        tokio::join!(sending, passing).1
    }

    /// Reads to the end, whose empty piece takes the same time.
    async fn read(self, mut from: OwnedReadHalf, to: Sender<Piece>) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            let due = Instant::now() + self.one_way;
            let sent = to.send((due, buffer[..read].to_vec())).await;
            if read == 0 || sent.is_err() {
                return;
            }
        }
    }

    async fn write(&self, mut arrives: Receiver<Piece>, mut to: OwnedWriteHalf) {
        while let Some((due, bytes)) = arrives.recv().await {
            self.clock.sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        to.shutdown().await.ok();
    }
}

/// Pieces on their way in one direction of a connection: enough for 64 MiB.
const QUEUE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::Link;
    use crate::clock::Clock;
    use std::time::{Duration, Instant};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn an_exchange_takes_two_round_trips_and_the_next_takes_one() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let entry = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = Link {
            to: server.local_addr().unwrap(),
            one_way: Duration::from_millis(20),
            clock: Clock::start(),
        };
        let round_trip = 2 * link.one_way;
        let dialled = entry.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = entry.accept().await.unwrap();
            link.connect(stream).await
        });
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await
        });
        let start = Instant::now();
        let mut stream = TcpStream::connect(dialled).await.unwrap();
        for exchange in 2..4 {
            stream.write_all(b"ping").await.unwrap();
            let mut back = [0; 4];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"ping");
            assert!(start.elapsed() >= exchange * round_trip);
        }
        stream.shutdown().await.unwrap();
        assert_eq!(
            stream.read(&mut [0]).await.unwrap(),
            0,
            "the end passes too"
        );
        assert!(start.elapsed() >= 4 * round_trip);
    }
}
