//! Waiting for a fact, and not for a time.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a scenario waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until a fact holds, and fails where it never does.
pub async fn eventually<T>(what: &str, mut fact: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = fact().await {
            return value;
        }
        assert!(Instant::now() < deadline, "it never happened: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
