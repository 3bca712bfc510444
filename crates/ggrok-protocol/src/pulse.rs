//! Liveness: when to ping the peer, and when to take it for dead.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::Limits;

/// The pulse of one tunnel, as one end feels it.
pub(crate) struct Pulse {
    limits: Limits,
    /// Whether silence means death. A peer that never promised to answer cannot break it.
    strict: bool,
    heard: Instant,
    next_ping: Instant,
    /// Kept while others win the race against it, and not set anew each time.
    alarm: Pin<Box<Sleep>>,
}

/// What a [`Pulse`] asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// It is time to ping.
    Ping,
    /// The peer was silent for too long.
    Dead,
}

impl Pulse {
    /// Starts a pulse; where it is `strict`, the peer has to answer its pings.
    pub(crate) fn new(limits: Limits, strict: bool) -> Self {
        let now = Instant::now();
        Self {
            limits,
            strict,
            heard: now,
            next_ping: now + limits.ping_every,
            alarm: Box::pin(sleep_until(now + limits.ping_every)),
        }
    }

    /// Notes that the peer lives, and returns when.
    pub(crate) fn heard(&mut self) -> Instant {
        self.heard = Instant::now();
        self.heard
    }

    /// Demands an answer to pings from now on.
    pub(crate) const fn demand(&mut self) {
        self.strict = true;
    }

    /// Waits for the next beat. `excused` says that the peer has a reason to be silent. Cancel-safe.
    pub(crate) async fn beat(&mut self, excused: bool) -> Beat {
        let death = self.heard + self.limits.dead_after;
        let dies_first = self.strict && !excused && death <= self.next_ping;
        let due = if dies_first { death } else { self.next_ping };
        if self.alarm.deadline() != due {
            self.alarm.as_mut().reset(due);
        }
        self.alarm.as_mut().await;
        if dies_first {
            return Beat::Dead;
        }
        self.next_ping = Instant::now() + self.limits.ping_every;
        Beat::Ping
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Beat, Pulse};
    use crate::Limits;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn pings_a_silent_peer_until_it_is_dead() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Limits::default(), true);
        assert_eq!(pulse.beat(false).await, Beat::Ping);
        assert_eq!(start.elapsed(), seconds(15));
        assert_eq!(pulse.beat(false).await, Beat::Ping);
        assert_eq!(pulse.beat(false).await, Beat::Dead);
        assert_eq!(start.elapsed(), seconds(40));
    }

    #[tokio::test(start_paused = true)]
    async fn spares_a_peer_that_is_heard_or_excused_or_promised_nothing() {
        let mut pulse = Pulse::new(Limits::default(), true);
        for _ in 0..10 {
            assert_eq!(pulse.beat(false).await, Beat::Ping);
            pulse.heard();
        }
        for _ in 0..10 {
            assert_eq!(pulse.beat(true).await, Beat::Ping);
        }
        let mut pulse = Pulse::new(Limits::default(), false);
        for _ in 0..10 {
            assert_eq!(pulse.beat(false).await, Beat::Ping);
        }
        pulse.demand();
        assert_eq!(pulse.beat(false).await, Beat::Dead);
    }
}
