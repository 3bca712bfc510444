//! The streams of one HTTP/2 connection, each a task: how many run, and which nobody takes in.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use futures_util::task::AtomicWaker;
use ggrok_protocol::{SentBody, SentBytes};
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::limits::calls::{Cut, StreamPermit, Streams as OfAddress};
use crate::limits::connections::Activity;
use crate::visitor_body::{Sent, VisitorBody};

/// The streams of one connection. Dropping it ends them all.
pub(super) struct Streams {
    runner: Runner,
    _over: DropGuard,
}

/// Runs the streams of a connection as hyper opens them. A clone runs the same ones.
#[derive(Clone)]
pub(super) struct Runner {
    running: watch::Sender<usize>,
    /// How long a visitor may take nothing of a stream's response.
    patience: Duration,
    over: CancellationToken,
    activity: Arc<Activity>,
    /// An answer of the relay's own was not taken for so long that the connection is not worth its place.
    is_deaf: CancellationToken,
    of_address: Option<OfAddress>,
}

impl Streams {
    /// The streams of the connection that has this activity. The visitor's address may have only so many:
    /// `None` where addresses are not told apart, as behind a router.
    pub(super) fn new(
        patience: Duration,
        activity: Arc<Activity>,
        of_address: Option<OfAddress>,
    ) -> Self {
        let over = CancellationToken::new();
        Self {
            runner: Runner {
                running: watch::Sender::new(0),
                patience,
                over: over.clone(),
                activity,
                is_deaf: CancellationToken::new(),
                of_address,
            },
            _over: over.drop_guard(),
        }
    }

    pub(super) fn runner(&self) -> Runner {
        self.runner.clone()
    }

    /// Waits until the visitor has taken nothing of an answer of the relay's own for [`REFUSAL`].
    pub(super) async fn deaf(&self) {
        self.runner.is_deaf.cancelled().await;
    }

    /// Waits until no stream has run for so long.
    pub(super) async fn idle(&self, time: Duration) {
        let mut running = self.runner.running.subscribe();
        loop {
            let none = running.wait_for(|running| *running == 0).await;
            none.expect("we hold its sender");
            if timeout(time, running.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Runner {
    fn execute(&self, stream: F) {
        let Some(watched) = self.watch() else {
            // The drop of the stream resets it.
            return;
        };
        let place = Place::take(self.clone());
        let patience = self.patience;
        let mut end = End {
            watched: watched.clone(),
            is_answered: false,
            is_deaf: self.is_deaf.clone(),
        };
        let untaken = watched.clone();
        let stream = async move {
            let _place = place;
            let answering = async {
                UNTAKEN.scope(untaken.clone(), stream).await;
                end.is_answered = true;
                untaken.sent().await;
            };
            tokio::select! {
                () = answering => {}
                // Its drop resets the stream.
                () = untaken.lasts(patience) => {}
            }
        };
        let task = tokio::spawn(self.over.clone().run_until_cancelled_owned(stream));
        watched.0.task.set(task.abort_handle()).ok();
    }
}

impl Runner {
    /// Watches one more stream; nothing where the address has as many as it may.
    fn watch(&self) -> Option<Untaken> {
        let permit = match &self.of_address {
            Some(of_address) => Some(of_address.open()?),
            None => None,
        };
        Some(Untaken(Arc::new(Watched {
            since: Mutex::default(),
            is_refusal: AtomicBool::new(false),
            pieces: AtomicUsize::new(0),
            sent: AtomicWaker::new(),
            task: OnceLock::new(),
            _permit: permit,
        })))
    }
}

/// The end of a stream. Where pieces of an answer were handed to h2 and are not taken, or an answer of the
/// relay's own is not, the whole connection ends with it: there is no other way to get rid of them.
struct End {
    watched: Untaken,
    is_answered: bool,
    is_deaf: CancellationToken,
}

impl Drop for End {
    fn drop(&mut self) {
        let watched = &self.watched.0;
        let is_stuck = self.is_answered || watched.is_refusal.load(Ordering::Relaxed);
        if is_stuck && watched.pieces.load(Ordering::Relaxed) > 0 {
            self.is_deaf.cancel();
        }
    }
}

/// One of the streams that run.
struct Place(Runner);

impl Place {
    fn take(runner: Runner) -> Self {
        runner.running.send_if_modified(|running| {
            *running += 1;
            runner.activity.answering();
            *running == 1
        });
        Self(runner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.send_if_modified(|running| {
            *running -= 1;
            if *running == 0 {
                self.0.activity.idle();
            }
            *running == 0
        });
    }
}

tokio::task_local! {
    /// Where a stream's body tells the task that it runs in. hyper lets it tell in no other way.
    static UNTAKEN: Untaken;
}

/// Since when hyper has a piece of a body and asks for no more, because the visitor has no window
/// for it: every stream has one of its own (RFC 9113, section 5.2), so a socket that takes bytes
/// says nothing of it.
#[derive(Clone)]
struct Untaken(Arc<Watched>);

struct Watched {
    since: Mutex<Option<Instant>>,
    /// Whether the answer is the relay's own.
    is_refusal: AtomicBool,
    /// Pieces of the body that h2 has, or hyper.
    pieces: AtomicUsize,
    /// Wakes the stream's task when there is none left.
    sent: AtomicWaker,
    /// The stream's task.
    task: OnceLock<AbortHandle>,
    /// Lives as long as the task and each piece.
    _permit: Option<StreamPermit>,
}

impl Untaken {
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        let since = self.0.since.lock();
        since.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all pieces have been sent.
    async fn sent(&self) {
        let Watched { pieces, sent, .. } = &*self.0;
        poll_fn(|cx| {
            sent.register(cx.waker());
            match pieces.load(Ordering::Acquire) {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }

    fn piece(&self, sent: SentBytes<Sent>) -> Piece {
        self.0.pieces.fetch_add(1, Ordering::Relaxed);
        Piece {
            sent,
            watched: self.clone(),
        }
    }

    /// Waits until a piece has lain there for so long.
    async fn lasts(&self, patience: Duration) {
        loop {
            let lain = self.since().map_or(Duration::ZERO, |since| since.elapsed());
            let patience = match self.0.is_refusal.load(Ordering::Relaxed) {
                true => patience.min(REFUSAL),
                false => patience,
            };
            match patience.checked_sub(lain) {
                None | Some(Duration::ZERO) => return,
                // Whether it is an answer of the relay's own is not known from the start.
                Some(left) => sleep(left.min(REFUSAL)).await,
            }
        }
    }
}

/// A response's body that notes when the visitor takes it.
pub(super) struct Noted {
    body: SentBody<VisitorBody>,
    untaken: Untaken,
}

impl Noted {
    /// Notes it for the stream in whose task this is called.
    pub(super) fn new(body: VisitorBody) -> Self {
        let untaken = UNTAKEN.with(Clone::clone);
        match body.entry() {
            Some(entry) => {
                if let Some(task) = untaken.0.task.get() {
                    entry.ends_by(Cut::Stream(task.clone()));
                }
            }
            None => untaken.0.is_refusal.store(true, Ordering::Relaxed),
        }
        let body = SentBody::new(body);
        Self { body, untaken }
    }
}

impl http_body::Body for Noted {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let mut since = self.untaken.since();
        *since = match frame {
            Poll::Ready(Some(Ok(_))) => Some(Instant::now()),
            Poll::Pending if self.body.is_waiting() => *since,
            _ => None,
        };
        drop(since);
        let untaken = &self.untaken;
        frame.map_ok(|frame| frame.map_data(|sent| untaken.piece(sent)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How long a visitor may take nothing of an answer of the relay's own, which is small.
const REFUSAL: Duration = Duration::from_secs(10);

/// A piece of a body, until h2 has sent it.
pub(super) struct Piece {
    sent: SentBytes<Sent>,
    watched: Untaken,
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Watched { pieces, sent, .. } = &*self.watched.0;
        if pieces.fetch_sub(1, Ordering::AcqRel) == 1 {
            sent.wake();
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.sent.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.sent.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.sent.advance(count);
    }
}
