//! An upgraded connection: bytes both ways between a socket and the two bodies of a call.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::TunnelBody;

/// What a socket sends, as the body of a call. It breaks off where the socket fails.
#[derive(Debug)]
pub struct SocketBody(mpsc::Receiver<io::Result<Bytes>>);

/// Where [`splice`] puts what a socket sends.
#[derive(Debug)]
pub struct SocketFeed(mpsc::Sender<io::Result<Bytes>>);

/// Makes a body that a socket will feed.
#[must_use]
pub fn socket_body() -> (SocketFeed, SocketBody) {
    let (feed, body) = mpsc::channel(1);
    (SocketFeed(feed), SocketBody(body))
}

impl Body for SocketBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let bytes = self.0.poll_recv(cx);
        bytes.map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)))
    }
}

/// Copies both ways until the tunnel's side ends, or either fails. Where the socket ends first, the
/// other side is told, and has a moment to finish what it says.
pub async fn splice(
    socket: impl AsyncRead + AsyncWrite + Send,
    feed: SocketFeed,
    body: TunnelBody,
) {
    let (from, to) = tokio::io::split(socket);
    let mut down = std::pin::pin!(write(body, to));
    tokio::select! {
        () = &mut down => {}
        ended = read(from, feed) => if ended {
            timeout(LAST_WORDS, down).await.ok();
        }
    }
}

/// Reads to the end of the socket; returns whether that was in order.
async fn read(mut from: ReadHalf<impl AsyncRead>, feed: SocketFeed) -> bool {
    loop {
        let mut bytes = BytesMut::with_capacity(CHUNK);
        let read = match from.read_buf(&mut bytes).await {
            Ok(0) => return true,
            Ok(_) => Ok(bytes.freeze()),
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if feed.0.send(read).await.is_err() || failed {
            return false;
        }
    }
}

/// Writes to the end of the body.
async fn write(mut body: TunnelBody, mut to: WriteHalf<impl AsyncWrite>) {
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    to.shutdown().await.ok();
}

/// Bytes that are read at a time.
const CHUNK: usize = 16 << 10;

/// How long the other side may speak on after the socket has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
