//! What answers the requests: a local server, or a service inside this program.

mod service;

use std::io;
use std::time::Duration;

use futures_util::future::OptionFuture;
use http::Version;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::either::Either;

pub use self::service::LocalService;
use self::service::Serving;
use crate::LocalAddress;

/// What a client stands for. Nothing that a relay sends changes it.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// A local server.
    Address(LocalAddress),
    /// A service inside this program.
    Service(LocalService),
}

/// A new connection to an upstream.
pub(crate) struct Opened {
    pub(crate) stream: Either<TcpStream, DuplexStream>,
    /// The other end, where it is in this program: nothing moves unless it is polled.
    pub(crate) serving: OptionFuture<Serving>,
}

impl Upstream {
    /// Opens a connection on which this version will be spoken. Cancel-safe: what has been opened is
    /// closed.
    pub(crate) async fn open(&self, version: Version) -> io::Result<Opened> {
        match self {
            Self::Address(address) => Ok(Opened {
                stream: Either::Left(dial(address).await?),
                serving: None.into(),
            }),
            Self::Service(service) => {
                let (stream, serving) = service.connect(version);
                Ok(Opened {
                    stream: Either::Right(stream),
                    serving: Some(serving).into(),
                })
            }
        }
    }

    /// The Host field of a request that came without one.
    pub(crate) fn authority(&self) -> &str {
        match self {
            Self::Address(address) => address.authority(),
            Self::Service(_) => "localhost",
        }
    }
}

impl From<LocalAddress> for Upstream {
    fn from(address: LocalAddress) -> Self {
        Self::Address(address)
    }
}

impl From<LocalService> for Upstream {
    fn from(service: LocalService) -> Self {
        Self::Service(service)
    }
}

async fn dial(address: &LocalAddress) -> io::Result<TcpStream> {
    let mut first = None;
    for candidate in address.candidates() {
        match timeout(CONNECT, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            // Where the second is ::1, the machine may have no IPv6, and that says nothing of the app.
            Ok(Err(error)) => first.get_or_insert(error),
            Err(_) => first.get_or_insert_with(|| io::ErrorKind::TimedOut.into()),
        };
    }
    Err(first.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// How long the local server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);
