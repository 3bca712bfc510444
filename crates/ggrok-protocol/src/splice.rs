//! An upgraded connection: bytes both ways between a socket and the two bodies of a call.

use std::io::{self, ErrorKind::BrokenPipe, ErrorKind::ConnectionAborted};
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
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

/// Copies both ways, until both have ended or either has failed. Where one ends first, the other has a
/// moment to finish what it says.
///
/// Where it is dropped before its end, what the socket sends breaks off.
pub async fn splice(
    socket: impl AsyncRead + AsyncWrite + Send,
    feed: SocketFeed,
    body: TunnelBody,
) {
    let (from, to) = tokio::io::split(socket);
    let is_deaf = AtomicBool::new(false);
    let mut down = pin!(write(body, to, &is_deaf));
    let mut up = pin!(read(from, feed, &is_deaf));
    tokio::select! {
        end = &mut down => if let Some(patience) = end.patience() {
            timeout(patience, up).await.ok();
        },
        end = &mut up => if let Some(patience) = end.patience() {
            timeout(patience, down).await.ok();
        },
    }
}

/// How one direction ended.
enum End {
    /// Nothing more is said, or taken.
    InOrder,
    /// Nobody wants what the socket says. What was said to it may still lie here.
    Unheard,
    Failed,
}

impl End {
    /// How long the other direction may go on.
    const fn patience(&self) -> Option<Duration> {
        match self {
            Self::InOrder => Some(Duration::from_secs(5)),
            Self::Unheard => Some(Duration::from_secs(60)),
            Self::Failed => None,
        }
    }
}

/// Reads to the end of the socket.
async fn read(
    mut from: ReadHalf<impl AsyncRead>,
    SocketFeed(feed): SocketFeed,
    is_deaf: &AtomicBool,
) -> End {
    loop {
        let mut bytes = BytesMut::with_capacity(CHUNK);
        let read = tokio::select! {
            read = from.read_buf(&mut bytes) => read,
            () = feed.closed() => return End::Unheard,
        };
        let (piece, end) = match read {
            // It has failed, of which the writer was told.
            Ok(0) if is_deaf.load(Relaxed) => (Err(BrokenPipe.into()), Some(End::Failed)),
            Ok(0) => (Ok(Bytes::new()), Some(End::InOrder)),
            Ok(_) => (Ok(bytes.freeze()), None),
            Err(error) => (Err(error), Some(End::Failed)),
        };
        if feed.send(piece).await.is_err() {
            return End::Unheard;
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// Writes to the end of the body, or until the socket takes no more: it may still say something then.
async fn write(
    mut body: TunnelBody,
    mut to: WriteHalf<impl AsyncWrite>,
    is_deaf: &AtomicBool,
) -> End {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return End::Failed;
        };
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            is_deaf.store(true, Relaxed);
            return End::InOrder;
        }
    }
    to.shutdown().await.ok();
    End::InOrder
}

/// Bytes that are read at a time.
const CHUNK: usize = 16 << 10;
