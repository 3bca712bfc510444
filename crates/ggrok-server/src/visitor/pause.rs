//! The pause between two requests of a visitor's connection in HTTP/1. hyper holds some 12 KiB for each
//! connection that it serves, most of it buffers, so one that pauses is taken from it until more comes.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ggrok_protocol::Flush;
use hyper::rt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{self, sleep};

use crate::limits::connections::{Activity, HeadMemory, UNRESERVED};

/// What is known of the pauses of one connection. Clones know the same.
///
/// It is hyper's timer, since hyper asks for a time-out when it begins to wait for a request's head, and
/// for no other reason in HTTP/1. Its clock stands still: nearly all heads come before anybody looks at a
/// real one.
#[derive(Clone, Debug, Default)]
pub(super) struct Pause(Arc<Noted>);

#[derive(Debug)]
struct Noted {
    /// The time that hyper is told.
    still: Instant,
    /// When a request's head has to have come; nothing while a request is answered.
    due: Mutex<Option<Due>>,
    /// Bytes that have come since hyper began to wait for that head.
    come: AtomicUsize,
    activity: Arc<Activity>,
}

impl Default for Noted {
    fn default() -> Self {
        Self {
            still: time::Instant::now().into(),
            due: Mutex::default(),
            come: AtomicUsize::default(),
            activity: Arc::default(),
        }
    }
}

/// When something has to have happened.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// So long after the next look at the clock.
    In(Duration),
    At(Instant),
}

/// Why a connection is no longer driven.
pub(super) enum Left<T> {
    /// It has ended.
    Ended(T),
    /// Nothing happens on it. A request's head has to come until then.
    Paused(Instant),
    /// A request's head did not come in time.
    Late,
}

impl Pause {
    /// Notes that a request's head has come.
    pub(super) fn end(&self) {
        self.0.activity.answering();
        self.set_due(None);
    }

    /// Drives a connection until it ends or pauses, or a head is late.
    pub(super) async fn until<C: Future + Unpin>(&self, mut connection: C) -> Left<C::Output> {
        let mut look = pin!(sleep(AFTER));
        let mut last_due = None;
        poll_fn(|cx| {
            if let Poll::Ready(output) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Left::Ended(output));
            }
            // While a request is answered nobody looks, so that it costs no wake-ups.
            while let Some(due) = self.due() {
                ready!(look.as_mut().poll(cx));
                let now = time::Instant::now();
                let due = match due {
                    Due::In(time) => (now + time).into(),
                    Due::At(due) => due,
                };
                self.set_due(Some(Due::At(due)));
                if due <= now.into() {
                    return Poll::Ready(Left::Late);
                }
                if last_due.replace(due) == Some(due) && self.is_quiet() {
                    return Poll::Ready(Left::Paused(due));
                }
                look.as_mut().reset(due.min((now + AFTER).into()).into());
            }
            Poll::Pending
        })
        .await
    }

    fn due(&self) -> Option<Due> {
        *self.0.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_due(&self, due: Option<Due>) {
        *self.0.due.lock().unwrap_or_else(PoisonError::into_inner) = due;
    }

    /// Whether nothing would be lost with hyper's state.
    fn is_quiet(&self) -> bool {
        let Noted { come, activity, .. } = &*self.0;
        come.load(Ordering::Relaxed) == 0 && !activity.is_writing()
    }
}

impl rt::Timer for Pause {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.0.come.store(0, Ordering::Relaxed);
        self.0.activity.idle();
        self.set_due(Some(Due::In(duration)));
        Box::pin(Never)
    }

    fn sleep_until(&self, due: Instant) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep(due - self.0.still)
    }

    fn now(&self) -> Instant {
        self.0.still
    }
}

/// The time-out that hyper sees: [`Pause::until`] looks at the clock.
struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl rt::Sleep for Never {}

/// A visitor's stream, which notes what its pause has to know.
pub(crate) struct PausingStream<S> {
    /// What was read ahead, and is read again first.
    unread: Bytes,
    pause: Pause,
    flush: Flush,
    stream: S,
    /// Where heads are bounded in memory.
    memory: Option<HeadMemory>,
    has_reserved: bool,
}

impl<S> PausingStream<S> {
    /// Wraps a stream whose reads and writes are noted in `activity`.
    pub(crate) fn new(stream: S, activity: Arc<Activity>) -> Self {
        let noted = Noted {
            activity,
            ..Noted::default()
        };
        Self {
            unread: Bytes::new(),
            pause: Pause(Arc::new(noted)),
            flush: Flush::default(),
            stream,
            memory: None,
            has_reserved: false,
        }
    }

    pub(super) fn pause(&self) -> &Pause {
        &self.pause
    }

    /// Reserves memory from here on for each head that is large.
    pub(super) fn reserve_from(&mut self, memory: Option<HeadMemory>) {
        self.memory = memory;
    }

    /// Notes that bytes have come.
    fn received(&mut self, bytes: usize) -> io::Result<()> {
        let come = &self.pause.0.come;
        let before = come.load(Ordering::Relaxed);
        let now = before + bytes.max(1);
        come.store(now, Ordering::Relaxed);
        self.pause.0.activity.moved();
        if before == 0 {
            self.release();
        }
        if now > UNRESERVED {
            self.reserve(now)
        } else {
            Ok(())
        }
    }

    #[cold]
    fn reserve(&mut self, come: usize) -> io::Result<()> {
        let Some(memory) = &self.memory else {
            return Ok(());
        };
        self.has_reserved = true;
        if memory.reserve(come) {
            Ok(())
        } else {
            Err(io::Error::other("no memory is left for a request's head"))
        }
    }

    /// Returns the memory of a head that is answered.
    pub(super) fn release(&mut self) {
        if std::mem::take(&mut self.has_reserved)
            && let Some(memory) = &self.memory
        {
            memory.release();
        }
    }

    /// Its flushes, for which a response's body may wait.
    pub(super) const fn flush(&self) -> &Flush {
        &self.flush
    }

    /// Puts back what was read last.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        // No bytes may still be a part of hyper's buffer, and keep it.
        self.unread = if bytes.is_empty() {
            Bytes::new()
        } else {
            bytes
        };
    }
}

impl<S: AsyncRead + Unpin> PausingStream<S> {
    /// Waits until there is something to read: bytes, an end, or an error. Cancel-safe.
    pub(super) async fn readable(&mut self) {
        if !self.unread.is_empty() {
            return;
        }
        let mut first = [0];
        // An end and an error come again.
        if let Ok(1) = self.stream.read(&mut first).await {
            self.unread = Bytes::copy_from_slice(&first);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PausingStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.unread.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        } else {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread.split_to(length));
        }
        let read = buffer.filled().len() - before;
        Poll::Ready(self.received(read))
    }
}

impl<S: AsyncWrite + Unpin> PausingStream<S> {
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let written = write(Pin::new(&mut self.stream), cx);
        let activity = &self.pause.0.activity;
        activity.set_writing(written.is_pending());
        if written.is_ready() {
            activity.moved();
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PausingStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.flush.note();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// How long nothing may happen until a connection counts as one that pauses.
const AFTER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::future::pending;

    use hyper::rt::Timer;
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::time::timeout;

    use super::*;

    /// The time that a request's head has.
    const HEAD: Duration = Duration::from_secs(15);

    fn waits_for_a_head(pause: &Pause) {
        drop(pause.sleep_until(pause.now() + HEAD));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_soon_where_nothing_happens() {
        let pause = Pause::default();
        waits_for_a_head(&pause);
        let left = timeout(3 * AFTER, pause.until(pending::<()>())).await;
        assert!(matches!(left, Ok(Left::Paused(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_pause_while_a_request_is_answered() {
        let pause = Pause::default();
        waits_for_a_head(&pause);
        pause.end();
        assert!(timeout(HEAD, pause.until(pending::<()>())).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_pause_within_a_head_and_notices_that_it_is_late() {
        let (mut far, near) = duplex(16);
        let mut near = PausingStream::new(near, Arc::default());
        waits_for_a_head(near.pause());
        far.write_all(b"GE").await.unwrap();
        near.readable().await;
        let mut read = [0; 2];
        near.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"GE");
        let start = time::Instant::now();
        let left = near.pause().until(pending::<()>()).await;
        assert!(matches!(left, Left::Late));
        // Its time counts from the first look at the clock.
        assert_eq!(start.elapsed(), AFTER + HEAD);
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_pause_before_its_answer_is_taken() {
        let (mut far, near) = duplex(2);
        let mut near = PausingStream::new(near, Arc::default());
        let pause = near.pause().clone();
        waits_for_a_head(&pause);
        let writing = async move {
            near.write_all(b"answer").await.unwrap();
            pending::<()>().await;
        };
        let mut until = pin!(pause.until(Box::pin(writing)));
        assert!(timeout(5 * AFTER, until.as_mut()).await.is_err());
        let mut taken = [0; 6];
        let (left, read) = tokio::join!(timeout(3 * AFTER, until), far.read_exact(&mut taken));
        read.unwrap();
        assert!(matches!(left, Ok(Left::Paused(_))));
    }
}
