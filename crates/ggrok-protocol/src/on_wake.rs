//! A stream that is asked only when it has something to say.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt};

/// Asks a stream that had nothing only after that has woken whoever waits for it. A task that waits for
/// several things asks all of them when one of them moves, and a WebSocket makes room to read into
/// before it sees that nothing has come.
#[derive(Debug)]
pub(crate) struct OnWake<S> {
    stream: S,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Where the stream wakes.
#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<S> OnWake<S> {
    pub(crate) fn new(stream: S) -> Self {
        let bell = Arc::new(Bell {
            // It was not asked yet.
            rung: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        let waker = Waker::from(Arc::clone(&bell));
        Self {
            stream,
            bell,
            waker,
        }
    }
}

impl<S: Stream + Unpin> Stream for OnWake<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = &mut *self;
        // First, or a bell that rings meanwhile would wake nobody.
        this.bell.task.register(cx.waker());
        if !this.bell.rung.swap(false, Ordering::Acquire) {
            return Poll::Pending;
        }
        let next = this
            .stream
            .poll_next_unpin(&mut Context::from_waker(&this.waker));
        if next.is_ready() {
            // There may be more, of which it has told nobody.
            this.bell.rung.store(true, Ordering::Relaxed);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use futures_util::stream::poll_fn;
    use futures_util::{FutureExt, StreamExt};
    use tokio::sync::mpsc;

    use super::OnWake;

    #[tokio::test]
    async fn asks_again_what_has_woken_it_or_given_something_and_nothing_else() {
        let (sender, mut receiver) = mpsc::channel(2);
        let asked = std::cell::Cell::new(0);
        let counting = poll_fn(|cx| {
            asked.set(asked.get() + 1);
            receiver.poll_recv(cx)
        });
        let mut stream = OnWake::new(counting);
        for _ in 0..3 {
            assert_eq!(stream.next().now_or_never(), None);
        }
        assert_eq!(asked.get(), 1);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        for expected in [Some(Some(1)), Some(Some(2)), None, None] {
            assert_eq!(stream.next().now_or_never(), expected);
        }
        assert_eq!(asked.get(), 4);
        drop(sender);
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test]
    async fn wakes_the_task_that_asked_last() {
        let (sender, mut receiver) = mpsc::channel(2);
        let mut stream = OnWake::new(poll_fn(move |cx| receiver.poll_recv(cx)));
        assert_eq!(stream.next().now_or_never(), None);
        let waiting = tokio::spawn(async move { stream.next().await });
        tokio::task::yield_now().await;
        sender.try_send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Some(7));
    }

    #[tokio::test]
    async fn hears_a_stream_that_wakes_before_it_returns() {
        let mut asked = 0;
        let mut stream = OnWake::new(poll_fn(|cx| {
            asked += 1;
            if asked < 3 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Some(asked))
        }));
        assert_eq!(stream.next().await, Some(3));
    }
}
