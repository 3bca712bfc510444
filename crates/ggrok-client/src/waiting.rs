//! Which of many failed attempts to connect the person is shown: each new reason, and then a line at
//! growing intervals.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ggrok_client::Event;

use crate::console;

/// Shows a person what happens, without a line for each attempt.
#[derive(Debug)]
pub(crate) struct Shown {
    colours: bool,
    waiting: Mutex<Option<Waiting>>,
}

/// A reason for which there is no tunnel.
#[derive(Debug)]
struct Waiting {
    reason: String,
    since: Instant,
    /// Attempts that had failed before.
    before: u32,
    next: Instant,
    interval: Duration,
}

impl Shown {
    pub(crate) const fn new(colours: bool) -> Self {
        Self {
            colours,
            waiting: Mutex::new(None),
        }
    }

    /// The line of an event; none where it says nothing new.
    pub(crate) fn line(&self, event: &Event) -> Option<String> {
        self.line_at(event, Instant::now())
    }

    fn line_at(&self, event: &Event, now: Instant) -> Option<String> {
        let Event::Waiting {
            reason,
            attempts,
            retry_in,
        } = event
        else {
            if matches!(event, Event::Ready { .. }) {
                *self.waiting() = None;
            }
            return Some(console::text(event, self.colours));
        };
        let mut waiting = self.waiting();
        match &mut *waiting {
            Some(known) if known.reason == *reason => {
                if now < known.next {
                    return None;
                }
                known.interval = (known.interval * 2).min(LONGEST);
                known.next = now + known.interval;
                let (failed, since) = (attempts - known.before.min(*attempts), now - known.since);
                let colours = self.colours;
                Some(console::still_waiting(
                    reason, failed, since, *retry_in, colours,
                ))
            }
            _ => {
                *waiting = Some(Waiting {
                    reason: reason.clone(),
                    since: now,
                    before: attempts.saturating_sub(1),
                    next: now + FIRST,
                    interval: FIRST,
                });
                Some(console::text(event, self.colours))
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the same reason is shown again for the first time. The interval doubles each time.
const FIRST: Duration = Duration::from_secs(60);

const LONGEST: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ggrok_client::Event;

    use super::Shown;

    fn failed(reason: &str, attempts: u32) -> Event {
        Event::Waiting {
            reason: reason.to_owned(),
            attempts,
            retry_in: Duration::from_millis(9500),
        }
    }

    #[test]
    fn shows_each_new_reason_and_the_same_one_at_growing_intervals() {
        let start = Instant::now();
        let shown = Shown::new(false);
        let line = |reason, seconds: u32| {
            let event = failed(reason, seconds + 1);
            shown.line_at(&event, start + Duration::from_secs(seconds.into()))
        };
        let first = line("no answer", 0).unwrap();
        assert_eq!(first, "No tunnel: no answer. Trying again in 9 s.");
        let again: Vec<_> = (1..4000)
            .filter(|at| line("no answer", *at).is_some())
            .collect();
        assert_eq!(again, [60, 180, 420, 900, 1860, 3780]);
        assert!(line("refused", 4000).is_some());
        assert_eq!(line("refused", 4001), None);
        let still = line("refused", 4060).unwrap();
        assert_eq!(
            still,
            "Still no tunnel after 61 attempts in 1m: refused. Trying again in 9 s."
        );
        let ready = Event::Ready { url: String::new() };
        assert!(shown.line_at(&ready, start).is_some());
        assert!(line("refused", 4070).is_some());
    }

    #[test]
    fn does_not_promise_an_attempt_in_no_time() {
        let event = Event::Waiting {
            reason: "lost".to_owned(),
            attempts: 0,
            retry_in: Duration::from_millis(30),
        };
        let line = Shown::new(false).line(&event).unwrap();
        assert_eq!(line, "No tunnel: lost. Trying again now.");
    }
}
