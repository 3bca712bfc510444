//! Notices what may have cut the connection to the relay unseen: the machine slept, or its network changed.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{Stream, unfold};
use tokio::sync::watch;
use tokio::time::sleep;

/// Watches the machine, and notifies whoever subscribed.
#[derive(Debug)]
pub(crate) struct Monitor {
    changes: watch::Sender<()>,
    /// The address that was dialled last: the relay's, or its proxy's.
    peer: Mutex<Option<SocketAddr>>,
}

/// Changes that were noticed. A clone has the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Changes(watch::Receiver<()>);

impl Monitor {
    pub(crate) fn new() -> Self {
        Self {
            changes: watch::Sender::new(()),
            peer: Mutex::default(),
        }
    }

    /// The changes from now on.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.changes.subscribe())
    }

    /// Notes the address whose route counts.
    pub(crate) fn dialled(&self, peer: Option<SocketAddr>) {
        *self.peer.lock().unwrap_or_else(PoisonError::into_inner) = peer;
    }

    /// Watches the clocks and the routes of this machine.
    pub(crate) async fn watch(&self) -> Infallible {
        self.watch_by(Clocks::read, routes).await
    }

    /// Watches by these clocks, and these routes to a peer and to the internet.
    async fn watch_by(
        &self,
        clocks: impl Fn() -> Clocks,
        routes: impl Fn(Option<SocketAddr>) -> Routes,
    ) -> Infallible {
        let mut last = clocks();
        let mut known = (None, routes(None));
        loop {
            sleep(TICK).await;
            let now = clocks();
            let slept = now.longest_since(&last) > TICK + GAP;
            last = now;
            let peer = *self.peer.lock().unwrap_or_else(PoisonError::into_inner);
            let current = (peer, routes(peer));
            // Another peer has another route; that is no change.
            let moved = current.0 == known.0 && current.1 != known.1;
            known = current;
            if slept || moved {
                tracing::debug!(slept, moved, "the connection may be lost");
                self.changes.send_replace(());
            }
        }
    }
}

impl Changes {
    /// Waits for the next change. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// The changes, one after another.
    pub(crate) fn into_stream(self) -> impl Stream<Item = ()> {
        unfold(self, async |mut changes| {
            changes.next().await;
            Some(((), changes))
        })
    }
}

/// What time it is, by clocks of which some run on while the machine sleeps.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    /// Stands still in a sleep on Linux and macOS, and runs on while the process is stopped.
    steady: Instant,
    /// Runs on in a sleep, where the system has such a clock.
    boot: Duration,
    /// Runs on in a sleep, but is also set, by a person or NTP.
    wall: SystemTime,
}

impl Clocks {
    fn read() -> Self {
        Self {
            steady: Instant::now(),
            boot: since_boot(),
            wall: SystemTime::now(),
        }
    }

    /// The time since then by the clock that says most.
    fn longest_since(&self, then: &Self) -> Duration {
        let steady = self.steady.saturating_duration_since(then.steady);
        let boot = self.boot.saturating_sub(then.boot);
        let wall = self.wall.duration_since(then.wall).unwrap_or_default();
        steady.max(boot).max(wall)
    }
}

/// The time since the machine started, with that in which it slept.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn since_boot() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(target_vendor = "apple")]
    let clock = ClockId::Monotonic;
    clock_gettime(clock).try_into().unwrap_or_default()
}

/// There is no such clock.
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn since_boot() -> Duration {
    Duration::ZERO
}

/// From which addresses of this machine the way leads to a peer, and by IPv4 and IPv6 to the internet.
type Routes = [Option<IpAddr>; 3];

fn routes(peer: Option<SocketAddr>) -> Routes {
    // Addresses for documentation (RFC 5737 and RFC 3849), which have the default route.
    let internet = [
        IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    ];
    let [v4, v6] = internet.map(|ip| route(SocketAddr::new(ip, 9)));
    [peer.and_then(route), v4, v6]
}

/// The address of this machine from which the way leads there; none where there is no way. To connect a
/// socket of UDP sends nothing.
fn route(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// How often the machine is looked at.
const TICK: Duration = Duration::from_secs(1);

/// How much later than it should a look has to be for a sleep. A busy machine is late too.
const GAP: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, Instant, SystemTime};

    use tokio::time::timeout;

    use super::{Changes, Clocks, Monitor, Routes, route};

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Whether a change is noticed within some looks, while `play` says what the machine does at each.
    async fn notices(play: impl Fn(u32) -> (Clocks, Routes)) -> bool {
        let monitor = Monitor::new();
        let changes = monitor.changes();
        let look = Cell::new(0);
        let clocks = || {
            look.set(look.get() + 1);
            play(look.get()).0
        };
        let watching = monitor.watch_by(clocks, |_| play(look.get()).1);
        tokio::select! {
            never = watching => match never {},
            noticed = any(changes) => noticed,
        }
    }

    async fn any(mut changes: Changes) -> bool {
        timeout(seconds(20), changes.next()).await.is_ok()
    }

    fn from(last: u8) -> Routes {
        let address = IpAddr::from(Ipv4Addr::new(192, 168, 0, last));
        [Some(address), Some(address), None]
    }

    /// Clocks that are a second further at each look, and one of them `gap` more from the fifth on.
    fn clocks(look: u32, gap: [Duration; 3]) -> Clocks {
        thread_local! {
            static START: (Instant, SystemTime) = (Instant::now(), SystemTime::now());
        }
        let (steady, wall) = START.with(|start| *start);
        let [steady_gap, boot_gap, wall_gap] = if look < 5 { [Duration::ZERO; 3] } else { gap };
        let time = seconds(u64::from(look));
        Clocks {
            steady: steady + time + steady_gap,
            boot: time + boot_gap,
            wall: wall + time + wall_gap,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn notices_a_gap_of_any_clock() {
        let none = Duration::ZERO;
        for gap in [
            [seconds(5), none, none],
            [none, seconds(5), none],
            [none, none, seconds(5)],
            [none, seconds(36_000), seconds(36_000)],
        ] {
            let noticed = notices(|look| (clocks(look, gap), from(1))).await;
            assert!(noticed, "{gap:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn takes_no_small_or_backward_step_for_a_sleep() {
        let small = Duration::from_millis(2500);
        assert!(!notices(|look| (clocks(look, [small; 3]), from(1))).await);
        let backward = |look| {
            let mut clocks = clocks(look, [Duration::ZERO; 3]);
            if look > 5 {
                clocks.wall -= seconds(3600);
            }
            (clocks, from(1))
        };
        assert!(!notices(backward).await);
    }

    #[tokio::test(start_paused = true)]
    async fn notices_another_route_and_one_that_ends_or_begins() {
        let none: Routes = [None; 3];
        for (before, after, changes) in [
            (from(1), from(2), true),
            (from(1), none, true),
            (none, from(1), true),
            (from(1), from(1), false),
            (none, none, false),
        ] {
            let noticed = notices(|look| {
                let routes = if look < 5 { before } else { after };
                (clocks(look, [Duration::ZERO; 3]), routes)
            });
            assert_eq!(noticed.await, changes, "{before:?} {after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_peer_is_no_change_of_the_network() {
        let monitor = Monitor::new();
        let mut changes = monitor.changes();
        let peer = |last: u16| Some(([127, 0, 0, 1], last).into());
        let watching = monitor.watch_by(
            || clocks(1, [Duration::ZERO; 3]),
            |peer| [peer.map(|_| Ipv4Addr::LOCALHOST.into()), None, None],
        );
        let dialling = async {
            for last in 1..5 {
                monitor.dialled(peer(last));
                let changed = timeout(seconds(3), changes.next()).await;
                assert!(changed.is_err(), "at {last}");
            }
        };
        tokio::select! {
            never = watching => match never {},
            () = dialling => {}
        }
    }

    #[test]
    fn finds_the_route_to_this_machine() {
        let here = Ipv4Addr::LOCALHOST;
        assert_eq!(route((here, 9).into()), Some(here.into()));
    }
}
