//! The last answer on a visitor's connection. Where it is little it goes out together with the connection's
//! end, as one packet and not as two, of which each would wake the visitor.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

/// Whether a visitor asks nothing more on its connection. Clones know the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last(Arc<Noted>);

#[derive(Debug, Default)]
struct Noted {
    is_last: AtomicBool,
    sends_body: AtomicBool,
    /// Whether the system holds back what was written.
    is_held: AtomicBool,
}

impl Last {
    /// Notes of the request that has come whether it is the last one, and whether it has a body.
    pub(crate) fn note(&self, is_last: bool, sends_body: bool) {
        self.0.is_last.store(is_last, Ordering::Relaxed);
        self.0.sends_body.store(sends_body, Ordering::Relaxed);
    }

    /// Whether the request that came last has a body.
    pub(crate) fn sends_body(&self) -> bool {
        self.0.sends_body.load(Ordering::Relaxed)
    }

    /// Whether the request that came last is the last one.
    pub(crate) fn is_noted(&self) -> bool {
        self.0.is_last.load(Ordering::Relaxed)
    }

    /// Lets out what was held back, since the connection does not end yet. Where nothing is, that costs
    /// nothing; the system would do it by itself after 200 ms.
    pub(super) fn let_out(&self, stream: &TcpStream) {
        if self.0.is_held.load(Ordering::Relaxed) {
            self.0.is_held.store(false, Ordering::Relaxed);
            system::let_out(stream);
        }
    }
}

/// Sends to a visitor. What is little and of the last answer waits in the system for what comes behind it:
/// the connection's end, or [`Last::let_out`].
pub(super) struct Sender {
    to: OwnedWriteHalf,
    last: Last,
}

impl Sender {
    pub(super) const fn new(to: OwnedWriteHalf, last: Last) -> Self {
        Self { to, last }
    }
}

impl AsyncWrite for Sender {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.last.is_noted() && bytes.len() <= LITTLE {
            self.last.0.is_held.store(true, Ordering::Relaxed);
            return poll_hold(self.to.as_ref(), cx, bytes);
        }
        Pin::new(&mut self.to).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was held back goes out with it.
        self.last.0.is_held.store(false, Ordering::Relaxed);
        Pin::new(&mut self.to).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.to).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.to.is_write_vectored()
    }
}

/// Writes what the system is to send with what follows.
fn poll_hold(stream: &TcpStream, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        match system::try_hold(stream, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::net::{SendFlags, send, sockopt};
    use tokio::io::Interest;
    use tokio::net::TcpStream;

    pub(super) fn try_hold(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        stream.try_io(Interest::WRITABLE, || Ok(send(stream, bytes, flags)?))
    }

    pub(super) fn let_out(stream: &TcpStream) {
        // It is set already; to set it again sends what waits. A connection that is broken has nobody to
        // send to.
        sockopt::set_tcp_nodelay(stream, true).ok();
    }
}

/// Other systems have no word for it.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use tokio::net::TcpStream;

    pub(super) fn try_hold(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        stream.try_write(bytes)
    }

    pub(super) const fn let_out(_: &TcpStream) {}
}

/// The most bytes that are held back.
const LITTLE: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::{LITTLE, Last};
    use crate::stream::{Departure, VisitorStream, watched};

    async fn connected() -> (VisitorStream, Departure, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let visitor = TcpStream::connect(listener.local_addr().unwrap());
        let (visitor, accepted) = tokio::join!(visitor, listener.accept());
        let (stream, departure) = watched(accepted.unwrap().0);
        (stream, departure, visitor.unwrap())
    }

    fn is_held(last: &Last) -> bool {
        last.0.is_held.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn holds_back_little_of_the_last_answer_alone() {
        let (mut stream, departure, mut visitor) = connected().await;
        let last = departure.last();
        let large = vec![b'x'; LITTLE + 1];
        for (is_last, answer, held) in [
            (false, &b"first"[..], false),
            (true, &large, false),
            (true, b"last", true),
        ] {
            last.note(is_last, false);
            stream.write_all(answer).await.unwrap();
            assert_eq!(is_held(last), held);
        }
        stream.shutdown().await.unwrap();
        assert!(!is_held(last));
        let mut read = Vec::new();
        visitor.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, [b"first", &large[..], b"last"].concat());
    }

    #[tokio::test]
    async fn lets_out_what_it_held_where_the_connection_goes_on() {
        let (mut stream, departure, mut visitor) = connected().await;
        departure.last().note(true, false);
        stream.write_all(b"a part").await.unwrap();
        assert!(is_held(departure.last()));
        // The visitor stays, so this does not end; it has been asked, though.
        let mut waiting = Box::pin(departure.wait());
        let asked = futures_util::future::poll_immediate(waiting.as_mut()).await;
        assert_eq!((asked, is_held(departure.last())), (None, false));
        let mut read = [0; 6];
        visitor.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"a part");
    }
}
