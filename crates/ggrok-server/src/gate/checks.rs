//! Checks of passwords, which take memory and a core: one at a time, for all tunnels in turn.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as SystemInstant};

use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Door;
use super::queue::{Next, Place, Queue};
use crate::attempts::{Attempts, key};
use crate::error::RelayError;

/// The checks of all tunnels. Dropping it ends those that wait.
pub(super) struct Checks(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Wakes the worker, which may be waiting for a paced tunnel.
    pushed: Notify,
    wrong: Arc<Attempts>,
}

struct State {
    queue: Queue<Job>,
    /// The task that checks, while there is something to check.
    worker: Option<AbortHandle>,
}

struct Job {
    login: Vec<u8>,
    answer: oneshot::Sender<Result<bool, RelayError>>,
}

impl Checks {
    /// Makes an empty queue. Wrong logins are counted in `wrong`, by address.
    pub(super) fn new(wrong: Arc<Attempts>) -> Self {
        let state = State {
            queue: Queue::new(),
            worker: None,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            pushed: Notify::new(),
            wrong,
        }))
    }

    /// Returns whether a login is right. Cancel-safe: a check that has begun runs to its end and counts.
    ///
    /// # Errors
    /// [`RelayError::TooManyLogins`] where too many checks wait, or this one would wait too long, or the
    /// address has given too many wrong logins meanwhile.
    pub(super) async fn is_right(
        &self,
        door: &Arc<Door>,
        address: IpAddr,
        login: Vec<u8>,
    ) -> Result<bool, RelayError> {
        let (answer, answered) = oneshot::channel();
        self.push(Place {
            door: Arc::clone(door),
            address: key(address),
            is_suspect: self.0.wrong.has_failed(address),
            job: Job { login, answer },
        })?;
        match timeout(LONGEST_WAIT, answered).await {
            Ok(answer) => answer.unwrap_or(Err(RelayError::Stopping)),
            Err(_) => Err(RelayError::TooManyLogins),
        }
    }

    fn push(&self, place: Place<Job>) -> Result<(), RelayError> {
        let mut state = self.0.state();
        if let Err(place) = state.queue.push(place) {
            // Those who have left take no room away.
            state.queue.retain(|job| !job.answer.is_closed());
            let pushed = state.queue.push(place);
            pushed.map_err(|_| RelayError::TooManyLogins)?;
        }
        if state.worker.is_none() {
            let worker = tokio::spawn(Arc::clone(&self.0).work());
            state.worker = Some(worker.abort_handle());
        }
        drop(state);
        self.0.pushed.notify_one();
        Ok(())
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        if let Some(worker) = self.0.state().worker.take() {
            worker.abort();
        }
    }
}

impl Shared {
    /// Checks one login after the other until none waits.
    async fn work(self: Arc<Self>) {
        loop {
            match self.next() {
                Next::Job(place) => self.check(place).await,
                Next::Wait(until) => {
                    tokio::select! {
                        () = sleep_until(until) => {}
                        () = self.pushed.notified() => {}
                    }
                }
                Next::Empty => return,
            }
        }
    }

    fn next(&self) -> Next<Job> {
        let mut state = self.state();
        let next = state.queue.pop(Instant::now());
        if matches!(next, Next::Empty) {
            // The next one that is pushed starts another worker.
            state.worker = None;
        }
        next
    }

    async fn check(&self, place: Place<Job>) {
        let Place {
            door, address, job, ..
        } = place;
        if job.answer.is_closed() {
            return;
        }
        // Others of the address may have failed meanwhile, and others of the tunnel been right.
        if self.wrong.allowed(address).is_err() {
            job.answer.send(Err(RelayError::TooManyLogins)).ok();
            return;
        }
        if door.knows(&job.login) {
            job.answer.send(Ok(true)).ok();
            return;
        }
        let began = SystemInstant::now();
        let (login, checked) = (job.login, Arc::clone(&door));
        let looking = spawn_blocking(move || checked.look(&login)).await;
        let is_wrong = matches!(looking, Ok(false));
        if is_wrong {
            self.wrong.failed(address);
            door.failed();
        }
        job.answer
            .send(looking.map_err(|_| RelayError::Stopping))
            .ok();
        if is_wrong {
            // However many guess, the relay spends half of a core on it at most.
            sleep(began.elapsed().min(LONGEST_PAUSE)).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a login may wait for its check.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The longest pause after a wrong login: a check takes longer than that on a machine that stands still.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::{Checks, Door};
    use crate::attempts::Attempts;
    use crate::error::RelayError;
    use futures_util::stream::FuturesUnordered;
    use futures_util::{FutureExt, StreamExt};
    use ggrok_protocol::{Login, Logins, Rules};
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    fn door() -> Arc<Door> {
        let login: Login = "ana:s3cret".parse().unwrap();
        Arc::new(Door::new(Rules {
            logins: Some(Logins::new(&[login]).unwrap()),
            ..Rules::default()
        }))
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    #[tokio::test]
    async fn guesses_at_one_tunnel_delay_a_login_at_another_by_two_checks_at_most() {
        let wrong = Arc::new(Attempts::new(10));
        let checks = Checks::new(Arc::clone(&wrong));
        let (guessed, other) = (door(), door());
        let guess = |number| {
            let answer = checks.is_right(&guessed, address(number), b"ana:guess".to_vec());
            answer.boxed()
        };
        let mut guesses: FuturesUnordered<_> = (0..250).map(guess).collect();
        // The first one is being checked or has been, and the others wait.
        assert!(matches!(guesses.next().await, Some(Ok(false))));
        let before = wrong.count();
        let login = checks.is_right(&other, address(1_000), b"ana:s3cret".to_vec());
        tokio::pin!(login);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut login => break answer,
                Some(_) = guesses.next() => {}
            }
        };
        assert!(matches!(answer, Ok(true)));
        let between = wrong.count() - before;
        assert!(between <= 2, "{between} checks");
    }

    #[tokio::test]
    async fn a_login_that_another_request_has_proved_right_is_not_checked_again() {
        let checks = Checks::new(Arc::new(Attempts::new(10)));
        let door = door();
        let login = || checks.is_right(&door, address(1), b"ana:s3cret".to_vec());
        let answers = futures_util::future::join_all((0..16).map(|_| login())).await;
        assert!(answers.iter().all(|answer| matches!(answer, Ok(true))));
        let more = futures_util::future::join_all((0..17).map(|_| login())).await;
        let refused =
            |answer: &&Result<bool, RelayError>| matches!(answer, Err(RelayError::TooManyLogins));
        assert_eq!(more.iter().filter(refused).count(), 1);
    }
}
