//! How long to wait before the relay is dialled again.

use std::time::Duration;

/// Full jitter: each wait is drawn between nothing and a bound that grows by half, so that the
/// clients of a relay that restarts do not come back in step, and are back within 3 s where the
/// restart takes one. Doubling would not do: short draws in a row leave a bound of 6 s by then.
#[derive(Debug)]
pub(crate) struct Backoff {
    bound: Duration,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { bound: FIRST }
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.bound.mul_f64(fastrand::f64());
        self.bound = (self.bound * 3 / 2).min(LAST);
        wait
    }

    /// Whether this is the first try since it started over, which need not wait where a relay gives its
    /// place to another. It counts as one.
    pub(crate) fn spend_first(&mut self) -> bool {
        let is_first = self.bound == FIRST;
        if is_first {
            self.next();
        }
        is_first
    }

    /// Starts over, after a connection that lasted.
    pub(crate) const fn reset(&mut self) {
        self.bound = FIRST;
    }
}

const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, LAST};

    #[test]
    fn grows_its_bound_up_to_the_last() {
        let mut backoff = Backoff::new();
        for bound in [
            200, 300, 450, 675, 1012, 1518, 2278, 3417, 5125, 7688, 11533, 15_000, 15_000,
        ] {
            assert_eq!(backoff.bound.as_millis(), bound);
            assert!(backoff.next() <= LAST);
        }
        assert!(!backoff.spend_first());
        assert_eq!(backoff.bound, LAST);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
        backoff.reset();
        assert!(backoff.spend_first() && !backoff.spend_first());
    }
}
