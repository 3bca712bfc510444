//! The idle time after which a pooled connection may be about to close.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The idle time for which the local server certainly keeps a connection open, learned from those that it
/// closed while they were idle. `Keep-Alive: timeout` is not read: it counts whole seconds, and Node rounds
/// 300 ms down to 0.
#[derive(Debug)]
pub(super) struct Rest {
    /// In microseconds.
    limit: AtomicU64,
}

impl Default for Rest {
    fn default() -> Self {
        Self {
            limit: AtomicU64::new(micros(MOST)),
        }
    }
}

impl Rest {
    /// The idle time below which a connection is safe for a request that must not be sent again.
    pub(super) fn limit(&self) -> Duration {
        Duration::from_micros(self.limit.load(Ordering::Relaxed))
    }

    /// Notes that the local server closed a connection that had been idle for this time at most.
    pub(super) fn closed_after(&self, idle: Duration) {
        self.limit.fetch_min(micros(idle / 2), Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Far below the keep-alive times of common servers (1 to 75 s), and more than lies between the requests of a
/// burst. To open another connection costs little where the pause was longer.
const MOST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MOST, Rest};

    #[test]
    fn is_half_of_the_shortest_time_after_which_a_connection_was_closed() {
        let rest = Rest::default();
        assert_eq!(rest.limit(), MOST);
        for (closed_after, limit) in [(5_000, 100), (60, 30), (80, 30), (10, 5), (0, 0)] {
            rest.closed_after(Duration::from_millis(closed_after));
            assert_eq!(rest.limit(), Duration::from_millis(limit));
        }
    }
}
