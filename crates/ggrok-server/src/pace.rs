//! A bound on how slowly a visitor may send a body.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Watches how fast a body comes. Only the time counts in which we wait for the visitor: one that is
/// held back by us is not slow.
pub(crate) struct Pace {
    period: Duration,
    /// Bytes that came in this period.
    bytes: u64,
    /// What is left of this period, but for the wait that goes on.
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Pace {
    /// Asks for 1 KiB in each such period of waiting.
    pub(crate) const fn new(period: Duration) -> Self {
        Self {
            period,
            bytes: 0,
            left: period,
            waiting: None,
        }
    }

    /// Notes that so many bytes came.
    pub(crate) fn came(&mut self, bytes: u64) {
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= LEAST {
            self.bytes = 0;
            self.left = self.period;
        }
    }

    /// Waits, while nothing comes, for the end of the period: then the visitor is too slow.
    pub(crate) fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        let begin = || (Instant::now(), Box::pin(sleep(left)));
        let (_, end) = self.waiting.get_or_insert_with(begin);
        end.as_mut().poll(cx)
    }
}

/// Bytes that have to come in a period.
const LEAST: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::time::{Instant, advance, timeout};

    const PERIOD: Duration = Duration::from_secs(60);

    async fn wait(pace: &mut Pace, seconds: u64) -> bool {
        let too_slow = poll_fn(|cx| pace.poll_too_slow(cx));
        timeout(Duration::from_secs(seconds), too_slow)
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn finds_a_byte_a_second_too_slow() {
        let start = Instant::now();
        let mut pace = Pace::new(PERIOD);
        while !wait(&mut pace, 1).await {
            pace.came(1);
        }
        let took = start.elapsed();
        assert!((59..=61).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn bears_a_slow_line_and_being_held_back() {
        let mut pace = Pace::new(PERIOD);
        for _ in 0..10 {
            assert!(!wait(&mut pace, 50).await);
            pace.came(1024);
        }
        // Nobody waits for the visitor.
        advance(10 * PERIOD).await;
        pace.came(1);
        assert!(!wait(&mut pace, 50).await);
    }
}
