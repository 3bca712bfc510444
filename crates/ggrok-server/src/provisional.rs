//! A connection for which there is no place: a client may register on it, a visitor is turned away.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Uri;
use memchr::memmem;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::metrics::Shed;
use crate::peer::Peer;
use crate::serve::Service;
use crate::{register, turned_away};

/// The first request's head, as far as it was read.
enum Head {
    /// A client's handshake, complete.
    Registration(Bytes),
    /// Any other, from its first line on.
    Other(Bytes),
}

/// Serves one registration on a connection for which there is no place. Other requests are served if there
/// is a place by now, and are turned away else.
pub(crate) async fn serve(service: Service, mut stream: TcpStream, peer: Peer, why: Shed) {
    let Ok(Ok(head)) = timeout(HEAD_TIME, read(&mut stream)).await else {
        service.app.shed(why);
        return;
    };
    match head {
        Head::Registration(said) => {
            let registering = service.last().serve(stream, said, peer);
            timeout(REGISTRATION_TIME, registering).await.ok();
        }
        Head::Other(said) => match promote(&peer).await {
            Ok(()) => service.serve(stream, said, peer).await,
            Err(why) => turned_away::answer(stream, service.app.shed(why)).await,
        },
    }
}

/// Waits for a place, for a moment: answers are short, and each leaves an idle connection.
async fn promote(peer: &Peer) -> Result<(), Shed> {
    let Some(seat) = peer.seat() else {
        return Ok(());
    };
    for _ in 0..ATTEMPTS {
        match seat.promote() {
            Err(Shed::Connections) => sleep(PAUSE).await,
            promoted => return promoted,
        }
    }
    seat.promote()
}

/// Reads until it is clear what a connection is for.
async fn read(stream: &mut TcpStream) -> io::Result<Head> {
    let mut said = BytesMut::with_capacity(LIKELY);
    loop {
        if stream.read_buf(&mut said).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let is_long = said.len() > LONGEST;
        match registers(&said) {
            Some(true) if is_long || memmem::find(&said, b"\r\n\r\n").is_some() => {
                return Ok(Head::Registration(said.freeze()));
            }
            None | Some(true) if !is_long => {}
            _ => return Ok(Head::Other(said.freeze())),
        }
    }
}

/// Whether the request line asks for a registration; `None` while it is incomplete.
fn registers(said: &[u8]) -> Option<bool> {
    let end = memchr::memchr(b'\n', said)?;
    let target = said[..end].split(|byte| *byte == b' ').nth(1);
    let target = target.and_then(|target| Uri::try_from(target).ok());
    Some(target.is_some_and(|target| register::is_path(target.path())))
}

/// How often a place is looked for again, and how long after the last time.
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes that are read at once.
const LIKELY: usize = 2 << 10;

/// The most that is read of a head here.
const LONGEST: usize = 16 << 10;

/// Time for the head.
const HEAD_TIME: Duration = Duration::from_secs(3);

/// Time for the registration that it begins.
const REGISTRATION_TIME: Duration = Duration::from_secs(5);
