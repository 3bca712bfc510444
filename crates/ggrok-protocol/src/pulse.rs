//! Liveness: when to ping the peer, and when to take it for dead.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Limits;

/// The pulse of one tunnel, as one end feels it.
pub(crate) struct Pulse {
    limits: Limits,
    /// Whether silence means death. A peer that never promised to answer cannot break it.
    strict: bool,
    ping_every: Duration,
    pong_timeout: Duration,
    heard: Instant,
    next_ping: Instant,
    unanswered: Option<Unanswered>,
    /// Bytes of data that were sent before the last ping that has its pong, and so have arrived.
    confirmed: u64,
    /// Kept while others win the race against it, and not set anew each time.
    alarm: Pin<Box<Sleep>>,
}

/// A ping without a pong.
struct Unanswered {
    since: Instant,
    timeout: Duration,
    /// Bytes of data that were sent before it.
    sent: u64,
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
        Self::with(limits, strict, limits.ping_every, limits.dead_after)
    }

    /// Starts the pulse of a client whose relay answers each ping.
    pub(crate) fn of_client(limits: Limits) -> Self {
        let ping_every = limits.client_ping_every.min(limits.ping_every);
        Self::with(limits, true, ping_every, limits.client_pong_timeout)
    }

    fn with(limits: Limits, strict: bool, ping_every: Duration, pong_timeout: Duration) -> Self {
        let now = Instant::now();
        Self {
            limits,
            strict,
            ping_every,
            pong_timeout,
            heard: now,
            next_ping: now + ping_every,
            unanswered: None,
            confirmed: 0,
            alarm: Box::pin(sleep_until(now + ping_every)),
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

    /// Notes a ping after so many bytes of data of this session.
    pub(crate) fn pinged(&mut self, sent: u64) {
        if self.unanswered.is_none() {
            self.unanswered = Some(self.ping(sent, self.pong_timeout));
        }
    }

    /// Notes a ping whose pong is to come soon, since the connection may be lost.
    pub(crate) fn probed(&mut self, sent: u64) {
        let probe = self.ping(sent, PROBE);
        let has_sooner = self.unanswered.as_ref().is_some_and(|unanswered| {
            unanswered.since + unanswered.timeout <= probe.since + probe.timeout
        });
        if !has_sooner {
            self.unanswered = Some(probe);
        }
    }

    /// Notes a pong.
    pub(crate) const fn ponged(&mut self) {
        if let Some(answered) = self.unanswered.take() {
            self.confirmed = answered.sent;
        }
    }

    /// A ping that waits behind data which may still be on their way.
    fn ping(&self, sent: u64, timeout: Duration) -> Unanswered {
        let on_the_way = sent.saturating_sub(self.confirmed);
        Unanswered {
            since: Instant::now(),
            timeout: timeout + Duration::from_millis(on_the_way * 1000 / SLOW_LINK),
            sent,
        }
    }

    /// When the peer is taken for dead, where nothing comes until then.
    fn death(&self) -> Instant {
        let silent = self.heard + self.limits.dead_after;
        match &self.unanswered {
            Some(ping) => silent.min(self.heard.max(ping.since) + ping.timeout),
            None => silent,
        }
    }

    /// Waits for the next beat. `excused` says that the peer has a reason to be silent. Cancel-safe.
    pub(crate) async fn beat(&mut self, excused: bool) -> Beat {
        let death = self.death();
        let dies_first = self.strict && !excused && death <= self.next_ping;
        let due = if dies_first { death } else { self.next_ping };
        if self.alarm.deadline() != due {
            self.alarm.as_mut().reset(due);
        }
        self.alarm.as_mut().await;
        if dies_first {
            return Beat::Dead;
        }
        self.next_ping = Instant::now() + self.ping_every;
        Beat::Ping
    }
}

/// The requests for a probe, as a stream.
pub(crate) fn probes(requested: Arc<Notify>) -> impl Stream<Item = ()> {
    unfold(requested, async |requested| {
        requested.notified().await;
        Some(((), requested))
    })
}

/// How long the pong to a probe may take: a round trip and some packets that are sent again.
const PROBE: Duration = Duration::from_millis(1500);

/// Bytes a second of a slow link: 512 kbit/s.
const SLOW_LINK: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::{Beat, Pulse};
    use crate::Limits;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[tokio::test(start_paused = true)]
    async fn pings_a_silent_peer_until_it_is_dead() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Limits::default(), true);
        for _ in 0..2 {
            assert_eq!(pulse.beat(false).await, Beat::Ping);
            pulse.pinged(0);
        }
        assert_eq!(start.elapsed(), seconds(30));
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

    #[tokio::test(start_paused = true)]
    async fn a_client_takes_a_relay_without_a_pong_for_dead_within_10_s() {
        let start = Instant::now();
        let mut pulse = Pulse::of_client(Limits::default());
        assert_eq!(pulse.beat(false).await, Beat::Ping);
        pulse.pinged(0);
        assert_eq!(pulse.beat(false).await, Beat::Dead);
        assert_eq!(start.elapsed(), seconds(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_spares_a_relay_that_answers_or_sends_anything() {
        let mut pulse = Pulse::of_client(Limits::default());
        for _ in 0..10 {
            assert_eq!(pulse.beat(false).await, Beat::Ping);
            pulse.pinged(0);
            pulse.heard();
            pulse.ponged();
        }
        // A pong may wait behind much of what the relay sends.
        for _ in 0..10 {
            assert_eq!(pulse.beat(false).await, Beat::Ping);
            pulse.pinged(0);
            sleep(seconds(1)).await;
            pulse.heard();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_longer_for_a_pong_behind_data_that_are_on_their_way() {
        let start = Instant::now();
        let mut pulse = Pulse::of_client(Limits::default());
        assert_eq!(pulse.beat(false).await, Beat::Ping);
        pulse.pinged(640 << 10);
        while pulse.beat(false).await == Beat::Ping {}
        assert_eq!(start.elapsed(), seconds(5 + 5 + 10));

        let mut pulse = Pulse::of_client(Limits::default());
        pulse.pinged(640 << 10);
        pulse.heard();
        pulse.ponged();
        // They have arrived.
        let start = Instant::now();
        pulse.pinged(640 << 10);
        while pulse.beat(false).await == Beat::Ping {}
        assert_eq!(start.elapsed(), seconds(5));

        let start = Instant::now();
        let mut pulse = Pulse::of_client(Limits::default());
        pulse.pinged(1 << 40);
        while pulse.beat(false).await == Beat::Ping {}
        assert_eq!(start.elapsed(), seconds(40));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_is_answered_soon_or_never() {
        let mut pulse = Pulse::of_client(Limits::default());
        pulse.pinged(0);
        sleep(seconds(1)).await;
        let start = Instant::now();
        pulse.probed(0);
        assert_eq!(pulse.beat(false).await, Beat::Dead);
        assert_eq!(start.elapsed(), Duration::from_millis(1500));

        let mut pulse = Pulse::of_client(Limits::default());
        pulse.probed(0);
        pulse.heard();
        pulse.ponged();
        assert_eq!(pulse.beat(false).await, Beat::Ping);
    }
}
