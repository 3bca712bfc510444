//! Many visitors: on connections that they keep, or on a new one for each request.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::origin::HELLO;
use crate::visitor::Visitor;

/// What became of requests.
#[derive(Debug, Default)]
pub struct Answers {
    /// From the request to the answer's last byte.
    times: Vec<Duration>,
    pub failed: usize,
    /// What was wrong first.
    pub reason: Option<String>,
}

impl Answers {
    pub fn count(&self) -> usize {
        self.times.len()
    }

    /// The time within which such a share of the answers came.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = (times.len() as f64 * share) as usize;
        let at = at.min(times.len().saturating_sub(1));
        times.get(at).copied().unwrap_or_default()
    }

    fn note(&mut self, started: Instant, asked: anyhow::Result<()>) -> bool {
        match asked {
            Ok(()) => self.times.push(started.elapsed()),
            Err(error) => {
                self.failed += 1;
                self.reason.get_or_insert_with(|| format!("{error:#}"));
                return false;
            }
        }
        true
    }

    fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.failed += other.failed;
        self.reason = self.reason.take().or(other.reason);
    }
}

/// When visitors stop.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// When this is over.
    Over(Duration),
    /// When all of them together have asked so often.
    Asked(usize),
}

/// Visitors with open connections. Dropping it closes them.
pub struct Crowd {
    lanes: Vec<Lane>,
}

/// Visitors of whom one at a time asks, in turn.
struct Lane {
    address: SocketAddr,
    visitors: VecDeque<Visitor>,
    requests: Arc<[Vec<u8>]>,
    next: usize,
}

impl Crowd {
    /// Opens connections, on each of which one request is made. As many visitors as `at_a_time` ask at
    /// a time. Each request has the answer of `/hello`; they are made in turn.
    ///
    /// # Errors
    /// Where one of the requests fails.
    pub async fn open(
        address: SocketAddr,
        requests: Vec<Vec<u8>>,
        visitors: usize,
        at_a_time: usize,
    ) -> anyhow::Result<Self> {
        let lanes = visitors.min(at_a_time);
        let requests: Arc<[Vec<u8>]> = requests.into();
        let mut opening = JoinSet::new();
        for number in 0..lanes {
            let requests = requests.clone();
            let of_lane = visitors / lanes + usize::from(number < visitors % lanes);
            opening.spawn(async move {
                let mut lane = Lane {
                    address,
                    visitors: VecDeque::with_capacity(of_lane),
                    // Each starts elsewhere, or all would ask the same host at the same time.
                    next: number * requests.len() / lanes,
                    requests,
                };
                for _ in 0..of_lane {
                    lane.enter().await?;
                }
                anyhow::Ok(lane)
            });
        }
        let opened = timeout(OPENING, opening.join_all()).await;
        let lanes: Result<Vec<Lane>, _> = opened
            .context("opening takes too long")?
            .into_iter()
            .collect();
        Ok(Self { lanes: lanes? })
    }

    /// Lets them ask.
    ///
    /// # Errors
    /// Where they do not come to an end.
    pub async fn ask(&mut self, until: Until) -> anyhow::Result<Answers> {
        let left = Arc::new(AtomicUsize::new(match until {
            Until::Asked(count) => count,
            Until::Over(_) => usize::MAX,
        }));
        let (end, patience) = match until {
            Until::Over(time) => (Instant::now() + time, time + OPENING),
            Until::Asked(_) => (Instant::now() + OPENING, 2 * OPENING),
        };
        let mut asking = JoinSet::new();
        for lane in self.lanes.drain(..) {
            asking.spawn(lane.ask(left.clone(), end));
        }
        let asked = timeout(patience, asking.join_all()).await;
        let mut answers = Answers::default();
        for (lane, its) in asked.context("the visitors hang")? {
            answers.add(its);
            self.lanes.push(lane);
        }
        Ok(answers)
    }

    /// How many of the connections the other side has not closed.
    pub fn open_now(&self) -> usize {
        let visitors = self.lanes.iter().flat_map(|lane| &lane.visitors);
        visitors.filter(|visitor| visitor.is_open()).count()
    }
}

impl Lane {
    async fn enter(&mut self) -> anyhow::Result<()> {
        let mut visitor = Visitor::connect(self.address).await?;
        visitor.ask(&self.requests[self.next], HELLO).await?;
        self.visitors.push_back(visitor);
        Ok(())
    }

    async fn ask(mut self, left: Arc<AtomicUsize>, end: Instant) -> (Self, Answers) {
        let mut answers = Answers::default();
        while Instant::now() < end && take_one(&left) {
            let Some(mut visitor) = self.visitors.pop_front() else {
                // Its connections broke: it goes on with one.
                if self.enter().await.is_err() {
                    sleep(PAUSE).await;
                }
                continue;
            };
            let request = &self.requests[self.next];
            let started = Instant::now();
            let asked = visitor.ask(request, HELLO).await;
            if answers.note(started, asked) {
                self.visitors.push_back(visitor);
            }
            self.next = (self.next + 1) % self.requests.len();
        }
        (self, answers)
    }
}

/// Visitors who each dial, ask once, and close: so many at a time, until the time is over or so many
/// have been.
pub async fn afresh(
    address: SocketAddr,
    request: Vec<u8>,
    at_a_time: usize,
    most: usize,
    time: Duration,
) -> anyhow::Result<Answers> {
    let left = Arc::new(AtomicUsize::new(most));
    let request: Arc<[u8]> = request.into();
    let end = Instant::now() + time;
    let mut visiting = JoinSet::new();
    for _ in 0..at_a_time {
        let (left, request) = (left.clone(), request.clone());
        visiting.spawn(async move {
            let mut answers = Answers::default();
            while Instant::now() < end && take_one(&left) {
                let started = Instant::now();
                let visit = async {
                    let mut visitor = Visitor::connect(address).await?;
                    visitor.ask(&request, HELLO).await
                };
                if !answers.note(started, visit.await) {
                    sleep(PAUSE).await;
                }
            }
            answers
        });
    }
    let visited = timeout(time + OPENING, visiting.join_all()).await;
    let mut answers = Answers::default();
    for its in visited.context("the visitors hang")? {
        answers.add(its);
    }
    Ok(answers)
}

fn take_one(left: &AtomicUsize) -> bool {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    });
    taken.is_ok()
}

/// How long opening all connections, or ending all requests, may take.
const OPENING: Duration = Duration::from_secs(60);

/// A failure takes no time, and must not become a busy loop.
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::Answers;
    use std::time::Duration;

    #[test]
    fn finds_quantiles() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        let answers = Answers {
            times,
            ..Answers::default()
        };
        assert_eq!(answers.quantile(0.5), Duration::from_millis(51));
        assert_eq!(answers.quantile(0.99), Duration::from_millis(100));
        assert_eq!(Answers::default().quantile(0.5), Duration::ZERO);
    }
}
