//! How much of everything is done.

use std::time::Duration;

/// How much of everything is done, in full or to try it out.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// How long visitors ask before anything is measured.
    pub warm_up: Duration,
    /// How long they ask then.
    pub time: Duration,
    /// New connections at most: the system remembers each for a while.
    pub fresh: usize,
    /// Bytes of a large body.
    pub body: u64,
    /// Small calls beside slow neighbours, and without.
    pub calls: usize,
    /// Visitors who stay.
    pub idle_visitors: usize,
    /// Tunnels at one relay that nobody calls.
    pub idle_tunnels: usize,
    /// How long idle tunnels are left alone before memory is read.
    pub settling: Duration,
    /// Repetitions over the long way.
    pub pages: usize,
    pub singles: usize,
    pub bursts: usize,
    /// Numbers of tunnels and of visitors that are compared.
    pub growing_tunnels: &'static [usize],
    pub growing_visitors: &'static [usize],
    /// The share of the machine that others may take before a run is repeated.
    pub foreign: f64,
}

impl Sizes {
    /// For figures that mean something.
    pub const fn full() -> Self {
        Self {
            warm_up: Duration::from_secs(1),
            time: Duration::from_secs(5),
            fresh: 6000,
            body: 1 << 30,
            calls: 4000,
            idle_visitors: 2000,
            idle_tunnels: 10_000,
            // Beyond the pings, which come each 15 s.
            settling: Duration::from_secs(20),
            pages: 5,
            singles: 20,
            bursts: 3,
            growing_tunnels: &[1, 10, 100, 1000],
            growing_visitors: &[1, 64, 1000, 10_000],
            foreign: 0.1,
        }
    }

    /// To see that everything works.
    pub const fn quick() -> Self {
        Self {
            warm_up: Duration::from_millis(200),
            time: Duration::from_secs(1),
            fresh: 2000,
            body: 256 << 20,
            calls: 1000,
            idle_visitors: 2000,
            idle_tunnels: 1000,
            settling: Duration::from_secs(1),
            pages: 2,
            singles: 5,
            bursts: 1,
            growing_tunnels: &[1, 10, 100],
            growing_visitors: &[1, 64, 1000],
            // Never.
            foreign: f64::INFINITY,
        }
    }
}
