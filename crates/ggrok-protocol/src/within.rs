//! A time-out that costs nothing where nobody has to wait.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

/// Waits for a future for so long. tokio's own time-out reads the clock before it looks whether the future
/// is ready at once, as most writes are. Cancel-safe where the future is.
pub(crate) async fn within<F: Future>(time: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut alarm = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if alarm.is_none() {
            alarm.set(Some(sleep(time)));
        }
        let alarm = alarm.as_mut().as_pin_mut();
        alarm.expect("it was set").poll(cx).map(|()| None)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::within;

    const TIME: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn gives_what_comes_in_time_and_nothing_else() {
        assert_eq!(within(TIME, ready(1)).await, Some(1));
        let start = Instant::now();
        let soon = async {
            sleep(TIME / 2).await;
            2
        };
        assert_eq!(within(TIME, soon).await, Some(2));
        assert_eq!(start.elapsed(), TIME / 2);
        assert_eq!(within(TIME, pending::<()>()).await, None);
        assert_eq!(start.elapsed(), TIME + TIME / 2);
    }
}
