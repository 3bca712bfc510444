//! What is asked only when it has something to say.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt};

/// Asks a future or a stream that had nothing only after that has woken whoever waits for it. A task that
/// waits for several things asks all of them when one of them moves; and of those most never do, like a stop,
/// or make room to read into before they see that nothing has come, as a WebSocket does.
#[derive(Debug)]
pub struct OnWake<T> {
    inner: T,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Where it wakes.
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

impl<T> OnWake<T> {
    /// Takes over what is to be asked. It is asked once without having woken anybody.
    pub fn new(inner: T) -> Self {
        let bell = Arc::new(Bell {
            rung: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        let waker = Waker::from(Arc::clone(&bell));
        Self { inner, bell, waker }
    }

    /// Whether it has woken since it was asked last.
    fn has_woken(&self, cx: &Context<'_>) -> bool {
        // First, or a bell that rings meanwhile would wake nobody.
        self.bell.task.register(cx.waker());
        self.bell.rung.swap(false, Ordering::Acquire)
    }
}

impl<F: Future + Unpin> Future for OnWake<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if !self.has_woken(cx) {
            return Poll::Pending;
        }
        let this = &mut *self;
        Pin::new(&mut this.inner).poll(&mut Context::from_waker(&this.waker))
    }
}

impl<S: Stream + Unpin> Stream for OnWake<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if !self.has_woken(cx) {
            return Poll::Pending;
        }
        let this = &mut *self;
        let next = this
            .inner
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
    use std::cell::Cell;
    use std::future;
    use std::task::Poll;

    use futures_util::stream::poll_fn;
    use futures_util::{FutureExt, StreamExt};
    use tokio::sync::{mpsc, oneshot};

    use super::OnWake;

    #[tokio::test]
    async fn asks_a_stream_again_that_has_woken_it_or_given_something_and_no_other() {
        let (sender, mut receiver) = mpsc::channel(2);
        let asked = Cell::new(0);
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
    async fn asks_a_future_again_that_has_woken_it_and_no_other() {
        let (sender, mut receiver) = oneshot::channel();
        let asked = Cell::new(0);
        let counting = future::poll_fn(|cx| {
            asked.set(asked.get() + 1);
            receiver.poll_unpin(cx)
        });
        let mut future = OnWake::new(counting);
        for _ in 0..3 {
            assert_eq!((&mut future).now_or_never(), None);
        }
        assert_eq!(asked.get(), 1);
        sender.send(7).unwrap();
        assert_eq!(future.await, Ok(7));
        assert_eq!(asked.get(), 2);
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
