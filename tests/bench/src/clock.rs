//! Alarms to some ten microseconds, where tokio's own have whole milliseconds.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

/// A clock with a thread of its own, which ends with the program.
#[derive(Clone, Default)]
pub struct Clock {
    alarms: Arc<Alarms>,
}

#[derive(Default)]
struct Alarms {
    /// One for each task that waits.
    queue: Mutex<BinaryHeap<Alarm>>,
    changed: Condvar,
}

struct Alarm {
    when: Instant,
    ring: oneshot::Sender<()>,
}

impl Clock {
    pub fn start() -> Self {
        let clock = Self::default();
        let alarms = clock.alarms.clone();
        thread::spawn(move || alarms.ring());
        clock
    }

    /// Waits until then.
    pub async fn sleep_until(&self, when: Instant) {
        if when <= Instant::now() {
            return;
        }
        let (ring, rings) = oneshot::channel();
        self.alarms.add(Alarm { when, ring });
        // The clock never stops, so it rings.
        rings.await.ok();
    }
}

impl Alarms {
    fn add(&self, alarm: Alarm) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push(alarm);
        drop(queue);
        self.changed.notify_one();
    }

    fn ring(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            while queue.peek().is_some_and(|alarm| alarm.when <= now) {
                if let Some(alarm) = queue.pop() {
                    alarm.ring.send(()).ok();
                }
            }
            let next = queue.peek().map(|alarm| alarm.when - now);
            queue = match next {
                Some(left) => {
                    let waited = self.changed.wait_timeout(queue, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(queue);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

/// The earliest is the greatest, since the heap gives that first.
impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> Ordering {
        other.when.cmp(&self.when)
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.when == other.when
    }
}

impl Eq for Alarm {}

#[cfg(test)]
mod tests {
    use super::Clock;
    use futures_util::future::join;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn rings_in_order_and_never_early() {
        let clock = Clock::start();
        let start = Instant::now();
        let at = |milliseconds| {
            let when = start + Duration::from_millis(milliseconds);
            let clock = clock.clone();
            async move {
                clock.sleep_until(when).await;
                assert!(Instant::now() >= when);
                Instant::now()
            }
        };
        let (late, soon) = join(at(20), at(5)).await;
        assert!(soon < late);
        clock.sleep_until(start).await;
    }
}
