//! The streams of one HTTP/2 connection, each a task: how many run, and which nobody takes in.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use ggrok_protocol::{SentBody, SentBytes};
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::limits::connections::Activity;

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
}

impl Streams {
    /// The streams of the connection that has this activity.
    pub(super) fn new(patience: Duration, activity: Arc<Activity>) -> Self {
        let over = CancellationToken::new();
        Self {
            runner: Runner {
                running: watch::Sender::new(0),
                patience,
                over: over.clone(),
                activity,
            },
            _over: over.drop_guard(),
        }
    }

    pub(super) fn runner(&self) -> Runner {
        self.runner.clone()
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
        let place = Place::take(self.clone());
        let untaken = Untaken::default();
        let patience = self.patience;
        let stream = async move {
            let _place = place;
            tokio::select! {
                () = UNTAKEN.scope(untaken.clone(), stream) => {}
                // Its drop resets the stream.
                () = untaken.lasts(patience) => {}
            }
        };
        tokio::spawn(self.over.clone().run_until_cancelled_owned(stream));
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
#[derive(Clone, Default)]
struct Untaken(Arc<Mutex<Option<Instant>>>);

impl Untaken {
    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a piece has lain there for so long.
    async fn lasts(&self, patience: Duration) {
        loop {
            let lain = self.since().map_or(Duration::ZERO, |since| since.elapsed());
            match patience.checked_sub(lain) {
                None | Some(Duration::ZERO) => return,
                Some(left) => sleep(left).await,
            }
        }
    }
}

/// A response's body that notes when the visitor takes it.
pub(super) struct Noted {
    body: SentBody<Body>,
    untaken: Untaken,
}

impl Noted {
    /// Notes it for the stream in whose task this is called.
    pub(super) fn new(body: Body) -> Self {
        let untaken = UNTAKEN.with(Clone::clone);
        let body = SentBody::new(body);
        Self { body, untaken }
    }
}

impl http_body::Body for Noted {
    type Data = SentBytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<SentBytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let mut since = self.untaken.since();
        *since = match frame {
            Poll::Ready(Some(Ok(_))) => Some(Instant::now()),
            Poll::Pending if self.body.is_waiting() => *since,
            _ => None,
        };
        drop(since);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
