//! A check: its id, how it is run, and what came of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::{JoinError, spawn_local};
use tokio::time::timeout;

/// How thoroughly a check is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// A few rounds. What is right is judged, and speed is told: the machine may be busy.
    Fast,
    /// As many rounds as the limits speak of.
    Full,
}

impl Tier {
    /// One number for each tier.
    pub const fn of<T: Copy>(self, fast: T, full: T) -> T {
        match self {
            Self::Fast => fast,
            Self::Full => full,
        }
    }
}

/// One check.
#[derive(Clone)]
pub struct Check {
    pub id: &'static str,
    pub what: &'static str,
    pub fast: bool,
    pub waits: bool,
    pub run: fn(Tier) -> Running,
}

/// A check that runs.
pub type Running = Pin<Box<dyn Future<Output = Findings>>>;

impl Check {
    pub const fn new(id: &'static str, what: &'static str, run: fn(Tier) -> Running) -> Self {
        let (fast, waits) = (false, false);
        Self {
            id,
            what,
            fast,
            waits,
            run,
        }
    }

    /// It belongs to the fast tier too.
    #[must_use]
    pub const fn fast(mut self) -> Self {
        self.fast = true;
        self
    }

    /// It mostly waits, so that others may run beside it.
    #[must_use]
    pub const fn waits(mut self) -> Self {
        self.waits = true;
        self
    }

    /// Runs it, on a task of its own: a check that panics has failed.
    pub async fn run(self, tier: Tier) -> Report {
        let longest = Duration::from_secs(tier.of(170, 1500));
        let findings = match spawn_local(timeout(longest, (self.run)(tier))).await {
            Ok(Ok(findings)) => findings,
            Ok(Err(_)) => Findings::new(tier).hold("ended in time", false),
            Err(panicked) => Findings::new(tier).hold(&why(panicked), false),
        };
        let check = self;
        Report { check, findings }
    }
}

fn why(error: JoinError) -> String {
    let panicked = error.try_into_panic().ok();
    let text = panicked.and_then(|why| {
        let text = why.downcast_ref::<String>().cloned();
        text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned()))
    });
    text.unwrap_or_default().replace('\n', " ")
}

/// What a check found, piece by piece.
#[derive(Clone, Debug)]
pub struct Findings {
    tier: Tier,
    passed: bool,
    values: Vec<String>,
    limits: Vec<String>,
}

impl Findings {
    pub const fn new(tier: Tier) -> Self {
        Self {
            tier,
            passed: true,
            values: Vec::new(),
            limits: Vec::new(),
        }
    }

    /// Something that has to hold.
    #[must_use]
    pub fn hold(mut self, what: &str, holds: bool) -> Self {
        self.passed &= holds;
        let is = if holds { "" } else { "NOT: " };
        self.values.push(format!("{is}{what}"));
        self
    }

    /// A count that must be just that.
    #[must_use]
    pub fn count(mut self, what: &str, count: usize, expected: usize) -> Self {
        self.passed &= count == expected;
        self.values.push(format!("{what} {count}"));
        self.limits.push(format!("{what} {expected}"));
        self
    }

    /// A number that has to be at least that large in the full tier.
    #[must_use]
    pub fn least(mut self, what: &str, value: f64, least: f64) -> Self {
        self.passed &= value >= least || self.tier == Tier::Fast;
        self.values.push(format!("{what} {}", number(value)));
        self.limits.push(format!("{what} >= {}", number(least)));
        self
    }

    /// A number, a time in seconds above all, that must not be larger in the full tier.
    #[must_use]
    pub fn most(mut self, what: &str, value: f64, most: f64) -> Self {
        self.passed &= value <= most || self.tier == Tier::Fast;
        self.values.push(format!("{what} {}", number(value)));
        self.limits.push(format!("{what} <= {}", number(most)));
        self
    }

    /// Something worth telling that is not judged.
    #[must_use]
    pub fn tell(mut self, what: impl Into<String>) -> Self {
        self.values.push(what.into());
        self
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 || value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

/// A check that was run.
pub struct Report {
    check: Check,
    findings: Findings,
}

impl Report {
    pub const fn passed(&self) -> bool {
        self.findings.passed
    }

    pub const fn id(&self) -> &'static str {
        self.check.id
    }

    /// Where it stands in the scorecard.
    pub fn number(&self) -> u32 {
        self.check.id.parse().unwrap_or(u32::MAX)
    }

    pub fn verdict(&self) -> &'static str {
        if self.passed() { "PASS" } else { "FAIL" }
    }

    pub fn value(&self) -> String {
        self.findings.values.join("; ")
    }

    pub fn limit(&self) -> String {
        self.findings.limits.join("; ")
    }
}

/// The line that a check prints.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, what) = (self.check.id, self.check.what);
        let (value, limit) = (self.value(), self.limit());
        let judged = match self.findings.tier {
            Tier::Fast => ", speed not judged",
            Tier::Full => "",
        };
        write!(f, "{id} {} {what}: {value} ", self.verdict())?;
        write!(f, "(limit{judged}: {limit})")
    }
}
