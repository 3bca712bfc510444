//! An upgraded connection: bytes both ways between a socket and the two bodies of a call.

use std::io::{self, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, copy, sink,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::TunnelBody;

/// What a socket sends, as the body of a call. It breaks off where the socket fails, or is given up.
#[derive(Debug)]
pub struct SocketBody {
    fed: mpsc::Receiver<io::Result<Bytes>>,
    has_ended: bool,
}

/// Where [`splice`] puts what a socket sends. An empty piece is its end; dropped without, it breaks off.
#[derive(Debug)]
pub struct SocketFeed(mpsc::Sender<io::Result<Bytes>>);

impl SocketFeed {
    /// Ends the body with nothing in it: no socket will feed it.
    pub fn end(self) {
        // Where this fails, nobody wants to know.
        self.0.try_send(Ok(Bytes::new())).ok();
    }
}

/// Makes a body that a socket will feed.
#[must_use]
pub fn socket_body() -> (SocketFeed, SocketBody) {
    let (feed, fed) = mpsc::channel(1);
    let has_ended = false;
    (SocketFeed(feed), SocketBody { fed, has_ended })
}

impl Body for SocketBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = ready!(self.fed.poll_recv(cx));
        let next = next.unwrap_or_else(|| Err(ConnectionAborted.into()));
        self.has_ended = next.as_ref().map_or(true, Bytes::is_empty);
        let is_end = next.as_ref().is_ok_and(Bytes::is_empty);
        Poll::Ready((!is_end).then(|| next.map(Frame::data)))
    }
}

/// Copies both ways, until both have ended or either has failed. Where one ends first, the other may go
/// on while it moves.
///
/// Where it is dropped before its end, what the socket sends breaks off.
pub async fn splice(
    socket: impl AsyncRead + AsyncWrite + Send,
    feed: SocketFeed,
    body: TunnelBody,
) {
    let (from, to) = tokio::io::split(socket);
    let noted = Noted::default();
    let mut down = pin!(write(body, to, &noted));
    let mut up = pin!(read(from, feed, &noted));
    tokio::select! {
        in_order = &mut down => if in_order {
            noted.while_moving(up).await;
        },
        in_order = &mut up => if in_order {
            noted.while_moving(down).await;
        },
    }
}

/// What the two directions know of each other.
#[derive(Default)]
struct Noted {
    /// Pieces that were copied.
    moved: AtomicUsize,
    /// Whether writing to the socket has failed.
    is_deaf: AtomicBool,
}

impl Noted {
    fn note_move(&self) {
        self.moved.fetch_add(1, Relaxed);
    }

    /// Drives the direction that is left until it ends, or stands still.
    async fn while_moving(&self, mut direction: Pin<&mut impl Future>) {
        let mut before = self.moved.load(Relaxed);
        while timeout(STILL, direction.as_mut()).await.is_err() {
            let now = self.moved.load(Relaxed);
            if before == now {
                return;
            }
            before = now;
        }
    }
}

/// Reads to the end of the socket; returns whether the other direction may go on.
async fn read(
    mut from: ReadHalf<impl AsyncRead>,
    SocketFeed(feed): SocketFeed,
    noted: &Noted,
) -> bool {
    loop {
        let mut bytes = BytesMut::with_capacity(CHUNK);
        let read = tokio::select! {
            read = from.read_buf(&mut bytes) => read,
            () = feed.closed() => break,
        };
        let (piece, ended) = match read {
            // It has failed, of which the writer was told.
            Ok(0) if noted.is_deaf.load(Relaxed) => (Err(BrokenPipe.into()), Some(false)),
            Ok(0) => (Ok(Bytes::new()), Some(true)),
            Ok(_) => (Ok(bytes.freeze()), None),
            Err(error) => (Err(error), Some(false)),
        };
        if feed.send(piece).await.is_err() {
            break;
        }
        noted.note_move();
        if let Some(in_order) = ended {
            return in_order;
        }
    }
    // Nobody wants it. Where it stayed unread, the system would take what is on its way to the socket
    // back when that is closed.
    timeout(UNHEARD, copy(&mut from, &mut sink())).await.ok();
    true
}

/// Writes to the end of the body, or until the socket takes no more: it may still say something then.
/// Returns whether the other direction may go on.
async fn write(mut body: TunnelBody, mut to: WriteHalf<impl AsyncWrite>, noted: &Noted) -> bool {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return false;
        };
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            noted.is_deaf.store(true, Relaxed);
            return true;
        }
        noted.note_move();
    }
    to.shutdown().await.ok();
    true
}

/// After so long without a move a direction stands still, where the other has ended; at the latest after
/// twice as long that is seen.
const STILL: Duration = Duration::from_secs(30);

/// How long a socket may speak on where nobody hears it.
const UNHEARD: Duration = Duration::from_secs(5);

/// Bytes that are read at a time.
const CHUNK: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::time::{Instant, sleep};

    use super::{STILL, UNHEARD, socket_body, splice};
    use crate::TunnelBody;

    #[tokio::test(start_paused = true)]
    async fn goes_on_while_the_socket_speaks_and_no_longer() {
        let (mut far, near) = duplex(64);
        let (feed, mut body) = socket_body();
        let splicing = tokio::spawn(splice(near, feed, TunnelBody::empty()));
        for _ in 0..5 {
            sleep(STILL.mul_f32(0.9)).await;
            far.write_all(b"hi").await.unwrap();
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "hi");
        }
        let start = Instant::now();
        assert!(body.frame().await.unwrap().is_err());
        assert!((STILL.mul_f32(0.9)..=2 * STILL).contains(&start.elapsed()));
        splicing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn ends_in_order_where_both_sides_do() {
        let (far, near) = duplex(64);
        let (feed, mut body) = socket_body();
        let splicing = tokio::spawn(splice(near, feed, TunnelBody::empty()));
        drop(far);
        assert!(body.frame().await.is_none());
        assert!(body.frame().await.is_none());
        splicing.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn reads_for_a_moment_what_nobody_wants() {
        let (mut far, near) = duplex(8);
        let (feed, body) = socket_body();
        drop(body);
        let start = Instant::now();
        let splicing = tokio::spawn(splice(near, feed, TunnelBody::empty()));
        far.write_all(&[0; 100]).await.unwrap();
        splicing.await.unwrap();
        assert_eq!(start.elapsed(), UNHEARD);
    }
}
