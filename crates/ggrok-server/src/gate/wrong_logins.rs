//! Wrong logins at one tunnel, by which further checks are paced.

use std::time::Duration;

use tokio::time::Instant;

/// Wrong logins at one tunnel within a minute from the first of them, whatever addresses they came from.
#[derive(Default)]
pub(super) struct WrongLogins {
    first: Option<Instant>,
    last: Option<Instant>,
    count: u32,
}

impl WrongLogins {
    pub(super) fn failed(&mut self) {
        let now = Instant::now();
        if self.first.is_none_or(|first| now - first >= PERIOD) {
            *self = Self {
                first: Some(now),
                ..Self::default()
            };
        }
        self.last = Some(now);
        self.count = self.count.saturating_add(1);
    }

    /// The time before which no login is checked; none where there were few wrong ones of late.
    pub(super) fn next_check(&self) -> Option<Instant> {
        let is_recent = self.first.is_some_and(|first| first.elapsed() < PERIOD);
        let last = self.last.filter(|_| is_recent && self.count >= MOST)?;
        Some(last + PACE)
    }
}

const PERIOD: Duration = Duration::from_secs(60);

/// Wrong logins of a tunnel in a minute before its checks are paced: those of three addresses.
const MOST: u32 = 30;

/// The time from one wrong login to the next check then. Over a day it leaves somebody with any number
/// of addresses fewer than 200,000 guesses.
const PACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::{MOST, PACE, PERIOD, WrongLogins};
    use tokio::time::{Instant, advance};

    #[tokio::test(start_paused = true)]
    async fn pace_checks_when_there_are_many() {
        let mut wrong = WrongLogins::default();
        for _ in 0..MOST {
            assert_eq!(wrong.next_check(), None);
            wrong.failed();
        }
        assert_eq!(wrong.next_check(), Some(Instant::now() + PACE));
        advance(PERIOD).await;
        assert_eq!(wrong.next_check(), None);
        wrong.failed();
        assert_eq!(wrong.next_check(), None);
    }
}
