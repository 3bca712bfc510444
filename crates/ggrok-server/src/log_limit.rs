//! A limit on the log lines that peers cause.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Level;

/// Logs a line at a level while its limit allows one, and at debug beyond that.
macro_rules! log_within {
    ($limit:expr, $level:ident, $($line:tt)*) => {
        if $limit.admit() {
            tracing::$level!($($line)*);
        } else {
            tracing::debug!($($line)*);
        }
    };
}

pub(crate) use log_within;

/// Limits of everything that peers of a relay can have logged.
pub(crate) struct LogLimits {
    /// Refused registrations without a valid token.
    pub(crate) strangers: LogLimit,
    /// Refused registrations with a valid token, or at an open relay.
    pub(crate) owners: LogLimit,
    pub(crate) registered: LogLimit,
    pub(crate) leaving: LogLimit,
    pub(crate) left: LogLimit,
    pub(crate) lost: LogLimit,
    /// Links and hosts that owners make, revoke or release.
    pub(crate) changes: LogLimit,
    /// Requests with forwarding fields where no hop is trusted.
    pub(crate) untrusted_hops: Reminder,
    /// Requests that passed fewer hops than are trusted.
    pub(crate) missing_hops: Reminder,
}

impl LogLimits {
    pub(crate) fn new() -> Self {
        Self {
            strangers: LogLimit::new(
                Level::WARN,
                "refused clients without a valid token",
                REFUSALS,
            ),
            owners: LogLimit::new(Level::WARN, "refused clients", REFUSALS),
            registered: LogLimit::new(Level::INFO, "clients that registered", TUNNELS),
            leaving: LogLimit::new(Level::INFO, "clients that will stop", TUNNELS),
            left: LogLimit::new(Level::INFO, "clients that left", TUNNELS),
            lost: LogLimit::new(Level::WARN, "clients that were lost", TUNNELS),
            changes: LogLimit::new(Level::INFO, "changes by owners", TUNNELS),
            untrusted_hops: Reminder::default(),
            missing_hops: Reminder::default(),
        }
    }
}

/// Lets a warning of a setting through at first, and then once an hour.
#[derive(Default)]
pub(crate) struct Reminder {
    last: Mutex<Option<Instant>>,
}

impl Reminder {
    /// Whether the warning is to be logged now.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= REMINDED);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// Lets the first lines of a kind through in each minute. The others are counted, and the count is
/// logged once: with the first line after that minute, or when the limit is dropped.
pub(crate) struct LogLimit {
    level: Level,
    /// The kind of lines, in the plural.
    kind: &'static str,
    most: u32,
    window: Mutex<Window>,
}

struct Window {
    began: Instant,
    count: u32,
}

impl LogLimit {
    fn new(level: Level, kind: &'static str, most: u32) -> Self {
        Self {
            level,
            kind,
            most,
            window: Mutex::new(Window::new()),
        }
    }

    /// Counts a line, and returns whether it may be logged.
    pub(crate) fn admit(&self) -> bool {
        let mut window = self.window();
        let over = if window.began.elapsed() >= PERIOD {
            std::mem::replace(&mut *window, Window::new()).over(self.most)
        } else {
            0
        };
        window.count = window.count.saturating_add(1);
        let count = window.count;
        drop(window);
        self.summarize(over);
        if count == self.most.saturating_add(1) {
            self.announce();
        }
        count <= self.most
    }

    /// Says once a minute that lines are left out from here on.
    fn announce(&self) {
        let kind = self.kind;
        if self.level == Level::WARN {
            tracing::warn!(
                kind,
                "many log lines of one kind: the others of this minute are counted"
            );
        } else {
            tracing::info!(
                kind,
                "many log lines of one kind: the others of this minute are counted"
            );
        }
    }

    fn summarize(&self, over: u32) {
        let kind = self.kind;
        match (over, self.level) {
            (0, _) => {}
            (count, Level::WARN) => tracing::warn!(kind, count, "log lines were left out"),
            (count, _) => tracing::info!(kind, count, "log lines were left out"),
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LogLimit {
    fn drop(&mut self) {
        let over = self.window().over(self.most);
        self.summarize(over);
    }
}

impl Window {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            count: 0,
        }
    }

    /// The lines that were not logged.
    const fn over(&self, most: u32) -> u32 {
        self.count.saturating_sub(most)
    }
}

const PERIOD: Duration = Duration::from_secs(60);

/// Between two warnings of the same setting.
const REMINDED: Duration = Duration::from_secs(3600);

/// Lines a minute: enough to see what somebody does wrong.
const REFUSALS: u32 = 10;

/// Lines a minute: enough for the clients of a small relay that all come back at once.
const TUNNELS: u32 = 100;

#[cfg(test)]
mod tests {
    use super::{LogLimit, PERIOD, REMINDED, Reminder};
    use std::io;
    use std::sync::{Arc, Mutex};
    use tokio::time::advance;
    use tracing::Level;
    use tracing_subscriber::fmt::MakeWriter;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_a_warning_of_a_setting_once_an_hour() {
        let reminder = Reminder::default();
        assert!(reminder.is_due() && !reminder.is_due());
        advance(REMINDED).await;
        assert!(reminder.is_due() && !reminder.is_due());
    }

    #[tokio::test(start_paused = true)]
    async fn logs_the_first_lines_of_a_minute_and_counts_the_others() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .with_ansi(false)
            .finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let limit = LogLimit::new(Level::WARN, "guesses", 3);
        for _ in 0..10_000 {
            log_within!(limit, warn, "a guess");
        }
        assert_eq!(lines.text().matches("a guess").count(), 3);
        assert_eq!(
            lines.text().lines().count(),
            4,
            "one says that there are more"
        );

        advance(PERIOD).await;
        log_within!(limit, warn, "a guess");
        assert_eq!(lines.text().lines().count(), 6);
        assert!(lines.text().contains("kind=\"guesses\" count=9997"));

        for _ in 0..4 {
            limit.admit();
        }
        drop(limit);
        assert!(lines.text().contains("count=2"), "{}", lines.text());
    }
}
