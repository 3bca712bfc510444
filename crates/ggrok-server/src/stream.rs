//! A visitor's socket, which tells that the visitor has left also while nobody reads from it.

mod last;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ggrok_protocol::{OnWake, poll_write_pieces};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{sleep, timeout};

pub(crate) use self::last::Last;
use self::last::Sender;

/// A visitor's socket. Dropping it closes the connection.
pub(crate) struct VisitorStream {
    from: Arc<OwnedReadHalf>,
    to: Sender,
}

/// Knows when the visitor of a socket leaves.
pub(crate) struct Departure {
    from: Arc<OwnedReadHalf>,
    last: Last,
}

/// Takes a visitor's socket over.
pub(crate) fn watched(stream: TcpStream) -> (VisitorStream, Departure) {
    let (from, to) = stream.into_split();
    let (from, last) = (Arc::new(from), Last::default());
    let departure = Departure {
        from: Arc::clone(&from),
        last: last.clone(),
    };
    let to = Sender::new(to, last);
    (VisitorStream { from, to }, departure)
}

impl Departure {
    /// Where it is to be noted that the visitor asks nothing more.
    pub(crate) const fn last(&self) -> &Last {
        &self.last
    }

    /// Waits until the visitor has closed its sending half, or the connection is broken. That is seen
    /// behind bytes that the system holds for us, but not behind those for which it has no room: they
    /// come first. Cancel-safe.
    ///
    /// Each time that it is asked it lets out what was held back of the last answer, so it has to be asked
    /// behind whoever writes.
    pub(crate) async fn wait(&self) {
        let leaving = pin!(self.leaving());
        let mut leaving = OnWake::new(leaving);
        poll_fn(|cx| {
            self.last.let_out((*self.from).as_ref());
            Pin::new(&mut leaving).poll(cx)
        })
        .await;
    }

    async fn leaving(&self) {
        // While bytes lie unread, a wait for the next event ends at once.
        while let Ok(ready) = self.from.ready(Interest::READABLE).await
            && !ready.is_read_closed()
        {
            sleep(ROUND).await;
        }
    }

    /// Reads on, within bounds, what the visitor of a closed connection still sends: the system would
    /// else throw the answer away unread (RFC 9112, section 9.6). Each pause may last for `quiet`.
    /// What became another protocol's is let alone.
    pub(crate) async fn linger(self, quiet: Duration) {
        let Some(mut from) = Arc::into_inner(self.from) else {
            return;
        };
        let reading = async {
            let mut left = LINGER_BYTES;
            let mut unwanted = Vec::with_capacity(16 << 10);
            while let Ok(Ok(read)) = timeout(quiet, from.read_buf(&mut unwanted)).await
                && read > 0
                && left > read
            {
                left -= read;
                unwanted.clear();
            }
        };
        // Whoever is slower than that has its answer by now, or misses it.
        timeout(LINGER_TIME, reading).await.ok();
    }
}

const LINGER_BYTES: usize = 64 << 20;
const LINGER_TIME: Duration = Duration::from_secs(5);

/// How long it may take until a departure is noticed.
const ROUND: Duration = Duration::from_secs(1);

impl AsyncRead for VisitorStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream: &TcpStream = (*self.from).as_ref();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match read(stream, buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }
}

/// Reads what there is. As tokio's own socket does it: where epoll or kqueue tells of news, less than
/// there was room for was all, and the next read need not ask the system to learn that.
fn read(stream: &TcpStream, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
    let room = buffer.remaining();
    let mut read = 0;
    let asked = stream.try_io(Interest::READABLE, || {
        read = stream.try_read_buf(buffer)?;
        if TELLS_NEWS && 0 < read && read < room {
            // Makes the next read wait for news that come from now on.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    });
    if read > 0 { Ok(()) } else { asked }
}

const TELLS_NEWS: bool = cfg!(any(target_os = "linux", target_os = "macos"));

impl AsyncWrite for VisitorStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_pieces(Pin::new(&mut self.to), cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.to.is_write_vectored()
    }
}
