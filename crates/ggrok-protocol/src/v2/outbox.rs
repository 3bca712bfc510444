//! What a session has to write: data in turn, control before it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use futures_util::{Sink, SinkExt};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::call::CallId;
use super::frame::Frame;
use crate::error::ResetCode;
use crate::within::within;
use crate::{Ending, Message, SessionError, TransportError};

/// Where frames are put. Clones are the same outbox.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    data: mpsc::Sender<[Bytes; 2]>,
    control: Arc<Control>,
}

/// Control frames overtake data: credit, resets and pings must not wait behind bodies.
#[derive(Debug)]
struct Control {
    waiting: Mutex<Waiting>,
    writer: AtomicWaker,
    /// Bytes of data that the writer has taken.
    sent: AtomicU64,
    /// The most frames that may wait.
    most: usize,
    /// A frame was dropped because [`most`](Self::most) were waiting.
    overrun: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    credits: Vec<(CallId, u32)>,
    resets: Vec<(CallId, ResetCode)>,
    go_away: bool,
    ping: bool,
    close: Option<Ending>,
}

impl Control {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, add: impl FnOnce(&mut Waiting)) {
        add(&mut self.waiting());
        self.writer.wake();
    }

    /// Adds a frame of a call, or drops it and marks the session as overrun where too many wait.
    fn add_frame(&self, add: impl FnOnce(&mut Waiting)) {
        self.add(|waiting| {
            if waiting.credits.len() + waiting.resets.len() < self.most {
                add(waiting);
            } else {
                self.overrun.store(true, Ordering::Relaxed);
            }
        });
    }

    /// What waits, where anything does.
    fn take(&self) -> Option<Waiting> {
        let mut waiting = self.waiting();
        (!waiting.is_empty()).then(|| std::mem::take(&mut *waiting))
    }
}

impl Outbox {
    /// Makes the outbox of a tunnel that has so many calls at a time.
    pub(crate) fn new(calls: usize) -> (Self, Writer) {
        let (data, queued) = mpsc::channel(QUEUE);
        let control = Arc::new(Control {
            waiting: Mutex::default(),
            writer: AtomicWaker::new(),
            sent: AtomicU64::new(0),
            most: calls.saturating_add(QUEUE).saturating_mul(2),
            overrun: AtomicBool::new(false),
        });
        let outbox = Self {
            data,
            control: Arc::clone(&control),
        };
        let writer = Writer {
            queued,
            control,
            sent: 0,
        };
        (outbox, writer)
    }

    /// Waits for a place in the queue of data. Fails where the session has ended.
    pub(crate) async fn place(&self) -> Result<Place<'_>, SessionEnded> {
        let place = self.data.reserve().await;
        place.map(Place).map_err(|_| SessionEnded)
    }

    /// Queues a frame of data, when it is its turn. Fails where the session has ended.
    pub(crate) async fn data(&self, frame: Frame) -> Result<(), SessionEnded> {
        self.place().await?.put(frame);
        Ok(())
    }

    /// Queues credit.
    pub(crate) fn credit(&self, call: CallId, credit: u32) {
        self.control.add_frame(|waiting| {
            match waiting.credits.iter_mut().find(|(id, _)| *id == call) {
                Some((_, more)) => *more = more.saturating_add(credit),
                None => waiting.credits.push((call, credit)),
            }
        });
    }

    /// Queues a reset.
    pub(crate) fn reset(&self, call: CallId, code: ResetCode) {
        self.control
            .add_frame(|waiting| waiting.resets.push((call, code)));
    }

    /// Queues a reset after the data that waits, which it would else take away from the reader. Where
    /// there is no room in that queue it goes first.
    pub(crate) fn reset_after_data(&self, call: CallId, code: ResetCode) {
        match self.data.try_reserve() {
            Ok(place) => Place(place).put(Frame::Reset { call, code }),
            Err(_) => self.reset(call, code),
        }
    }

    /// Whether the peer made more control frames necessary than it reads, which breaks the rules.
    ///
    /// A call has at most one reset and one credit waiting. An honest peer that stops reading stops the
    /// queue of data too, so no more calls than that queue holds come and go meanwhile.
    pub(crate) fn is_overrun(&self) -> bool {
        self.control.overrun.load(Ordering::Relaxed)
    }

    /// Queues a GoAway.
    pub(crate) fn go_away(&self) {
        self.control.add(|waiting| waiting.go_away = true);
    }

    /// Queues a ping.
    pub(crate) fn ping(&self) {
        self.control.add(|waiting| waiting.ping = true);
    }

    /// Bytes of data that were written so far, or are being written.
    pub(crate) fn sent(&self) -> u64 {
        self.control.sent.load(Ordering::Relaxed)
    }

    /// Queues the last message.
    pub(crate) fn close(&self, ending: Ending) {
        self.control.add(|waiting| waiting.close = Some(ending));
    }
}

/// A place in the queue of data.
#[derive(Debug)]
pub(crate) struct Place<'a>(mpsc::Permit<'a, [Bytes; 2]>);

impl Place<'_> {
    pub(crate) fn put(self, frame: Frame) {
        self.0.send(frame.encode());
    }
}

/// The session is over: nothing can be written any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionEnded;

/// Writes what the outbox is given.
pub(crate) struct Writer {
    queued: mpsc::Receiver<[Bytes; 2]>,
    control: Arc<Control>,
    /// Bytes of data that were taken so far.
    sent: u64,
}

impl Writer {
    /// Writes until a close frame has gone out, or writing fails.
    pub(crate) async fn run(
        mut self,
        mut sink: impl Sink<Message, Error = TransportError> + Unpin,
    ) -> Result<(), SessionError> {
        loop {
            let first = self.first().await;
            let written = within(PATIENCE, self.batch(&mut sink, first)).await;
            if written.ok_or(SessionError::Stalled)?? {
                return Ok(());
            }
        }
    }

    /// Waits for data, or for control, and gives the data. Cancel-safe.
    async fn first(&mut self) -> Option<[Bytes; 2]> {
        poll_fn(|cx| {
            // Before the look, or control that comes meanwhile would wake nobody.
            self.control.writer.register(cx.waker());
            if !self.control.waiting().is_empty() {
                return Poll::Ready(None);
            }
            self.queued.poll_recv(cx)
        })
        .await
    }

    /// Writes all that is queued, up to a bound, and flushes once. Where much is, whoever queued it gets one
    /// turn to queue more: the task that reads a visitor's body, above all. Returns whether that was all.
    async fn batch(
        &mut self,
        sink: &mut (impl Sink<Message, Error = TransportError> + Unpin),
        mut next: Option<[Bytes; 2]>,
    ) -> Result<bool, TransportError> {
        let mut bytes = 0;
        let mut patient = true;
        let closed = loop {
            if let Some(waiting) = self.control.take() {
                for message in waiting.messages() {
                    sink.feed(message).await?;
                }
                if let Some(ending) = waiting.close {
                    // The end of the tunnel takes nothing away that was queued before it.
                    while let Some(frame) = next.take().or_else(|| self.queued.try_recv().ok()) {
                        sink.feed(Message::Parts(frame)).await?;
                    }
                    sink.feed(Message::Close(ending)).await?;
                    break true;
                }
            }
            let Some(frame) = next.take() else {
                break false;
            };
            let length = frame.iter().map(Bytes::len).sum::<usize>();
            bytes += length;
            self.sent += length as u64;
            // The writer alone changes it.
            self.control.sent.store(self.sent, Ordering::Relaxed);
            sink.feed(Message::Parts(frame)).await?;
            if bytes < BATCH {
                next = self.queued.try_recv().ok();
                if next.is_none() && bytes >= BULK && std::mem::take(&mut patient) {
                    yield_now().await;
                    next = self.queued.try_recv().ok();
                }
            }
        };
        sink.flush().await?;
        Ok(closed)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        let Self {
            credits,
            resets,
            go_away,
            ping,
            close,
        } = self;
        credits.is_empty() && resets.is_empty() && !go_away && !ping && close.is_none()
    }

    fn messages(&self) -> impl Iterator<Item = Message> {
        let frame = |frame: Frame| Message::Parts(frame.encode());
        let resets = self.resets.iter();
        let resets = resets.map(|&(call, code)| Frame::Reset { call, code });
        let credits = self.credits.iter();
        let credits = credits.map(|&(call, credit)| Frame::Window { call, credit });
        let go_away = self.go_away.then_some(Frame::GoAway);
        let ping = self.ping.then_some(Message::Ping);
        resets.chain(credits).chain(go_away).map(frame).chain(ping)
    }
}

/// Frames of data that may wait, each at most [`CHUNK`](super::send::CHUNK) and a head.
const QUEUE: usize = 128;

/// Bytes of a batch that waits one turn for more.
const BULK: usize = 64 << 10;

/// Bytes that are written before a flush, and so before control gets its turn.
const BATCH: usize = 256 << 10;

/// How long the peer may take to read a batch.
const PATIENCE: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use futures_util::Sink;
    use tokio::task::yield_now;

    use super::{BULK, CallId, Frame, Outbox, QUEUE, ResetCode};
    use crate::{Ending, Message, TransportError};

    /// Notes what is done with it.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<&'static str>>>);

    impl Notes {
        fn note(&self, what: &'static str) {
            self.0.lock().unwrap().push(what);
        }
    }

    impl Sink<Message> for Notes {
        type Error = TransportError;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
            self.note(match message {
                Message::Close(_) => "close",
                _ => "data",
            });
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            self.note("flush");
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Two frames, of which the second is queued when the writer has had a turn.
    async fn written(length: usize) -> Vec<&'static str> {
        let (outbox, writer) = Outbox::new(1);
        let notes = Notes::default();
        let writing = tokio::spawn(writer.run(notes.clone()));
        for _ in 0..2 {
            let (call, body) = (CallId::new(1), Bytes::from(vec![0; length]));
            let end = false;
            outbox.data(Frame::Data { call, body, end }).await.unwrap();
            yield_now().await;
        }
        outbox.close(Ending::Done);
        writing.await.unwrap().unwrap();
        std::mem::take(&mut *notes.0.lock().unwrap())
    }

    #[tokio::test]
    async fn drops_control_frames_beyond_its_bound_and_says_so() {
        let (outbox, writer) = Outbox::new(1);
        let most = 2 * (1 + QUEUE);
        for number in 0..most {
            let call = CallId::new(u32::try_from(number).unwrap());
            if number % 2 == 0 {
                outbox.reset(call, ResetCode::Cancelled);
            } else {
                outbox.credit(call, 1);
            }
        }
        assert!(!outbox.is_overrun());
        outbox.reset(CallId::new(u32::MAX), ResetCode::Cancelled);
        assert!(outbox.is_overrun());
        outbox.close(Ending::Done);
        let notes = Notes::default();
        writer.run(notes.clone()).await.unwrap();
        let written = notes.0.lock().unwrap();
        assert_eq!(written.iter().filter(|note| **note == "data").count(), most);
    }

    #[tokio::test]
    async fn much_waits_one_turn_for_more_and_little_does_not() {
        let much = ["data", "data", "flush", "close", "flush"];
        assert_eq!(written(BULK).await, much);
        let little = ["data", "flush", "data", "flush", "close", "flush"];
        assert_eq!(written(100).await, little);
    }
}
