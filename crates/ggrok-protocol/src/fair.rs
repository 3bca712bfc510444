//! A stream that lets others have their turn.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};

/// A stream that has nothing for once after so many items in a row. Whoever asks it first of several things
/// would never come to the others while a peer sends faster than it is read: to no deadline, and no end.
#[derive(Debug)]
pub(crate) struct Fair<S> {
    stream: S,
    row: u8,
}

impl<S> Fair<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, row: 0 }
    }
}

impl<S: Stream + Unpin> Stream for Fair<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if self.row == ROW {
            self.row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.stream.poll_next_unpin(cx);
        self.row = if next.is_ready() { self.row + 1 } else { 0 };
        next
    }
}

/// Items in a row. Fewer than what tokio lets a task do before all that it waits for seems not ready, or the
/// others would not be ready either when they are asked.
const ROW: u8 = 64;

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt, stream};

    use super::{Fair, ROW};

    #[tokio::test]
    async fn lets_others_have_their_turn_and_goes_on() {
        let mut stream = Fair::new(stream::iter(0..));
        for turn in 0..3 {
            for item in 0..u32::from(ROW) {
                let expected = turn * u32::from(ROW) + item;
                assert_eq!(stream.next().now_or_never(), Some(Some(expected)));
            }
            assert_eq!(stream.next().now_or_never(), None);
        }
        // It has woken whoever waits.
        assert_eq!(
            stream.skip(usize::from(ROW)).next().await,
            Some(4 * u32::from(ROW))
        );
    }
}
