//! What this program is besides: parts of a benchmark that are processes of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket};

use crate::{clients, forwarder, link, origin};

/// A part, as the benchmark starts this program anew. It ends when its standard input does, and so
/// with the benchmark.
#[derive(Clone, Debug, Subcommand)]
pub enum Part {
    /// The local server
    #[command(hide = true)]
    Origin,
    /// A link that delays all that passes
    #[command(hide = true)]
    Link {
        listen: SocketAddr,
        to: SocketAddr,
        #[arg(value_parser = humantime::parse_duration)]
        one_way: Duration,
    },
    /// What stands before the relay, with or without TLS
    #[command(hide = true)]
    Forwarder {
        listen: SocketAddr,
        to: SocketAddr,
        /// Where the certificate that it makes is written
        certificate: Option<PathBuf>,
    },
    /// Many clients of one relay, as the library has them
    #[command(hide = true)]
    Clients {
        relay: SocketAddr,
        local: SocketAddr,
        count: usize,
    },
}

impl Part {
    /// Is that part until standard input ends.
    pub async fn play(self) -> anyhow::Result<()> {
        tokio::select! {
            ended = self.run() => ended,
            () = forsaken() => Ok(()),
        }
    }

    async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Origin => origin::play().await,
            Self::Link {
                listen,
                to,
                one_way,
            } => link::play(listen, to, one_way).await,
            Self::Forwarder {
                listen,
                to,
                certificate,
            } => forwarder::play(listen, to, certificate.as_deref()).await,
            Self::Clients {
                relay,
                local,
                count,
            } => clients::play(relay, local, count).await,
        }
    }
}

/// Waits until nobody holds the other end of standard input.
async fn forsaken() {
    let mut byte = [0];
    while matches!(tokio::io::stdin().read(&mut byte).await, Ok(1..)) {}
}

/// A listener that many may dial at once.
pub fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(4096)
}
