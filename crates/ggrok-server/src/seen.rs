//! When a client was last heard of.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When a client was last heard of. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    start: Instant,
    /// Milliseconds from then on.
    last: Arc<AtomicU64>,
}

impl Seen {
    /// Starts now.
    pub(crate) fn now() -> Self {
        Self {
            start: Instant::now(),
            last: Arc::default(),
        }
    }

    /// Notes that something was heard.
    pub(crate) fn note(&self) {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// The time from the start until then.
    pub(crate) fn last(&self) -> Duration {
        Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}
