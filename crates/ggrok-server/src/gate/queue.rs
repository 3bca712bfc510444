//! A bounded queue that serves tunnels in turn, and within a tunnel its visitors' addresses in turn.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::Door;

/// Jobs that wait, by tunnel and address.
pub(super) struct Queue<J> {
    /// Tunnels with jobs, the next one in front. A tunnel is known by its rules.
    tunnels: VecDeque<Tunnel<J>>,
}

/// A job, and for whom it is.
pub(super) struct Place<J> {
    pub(super) door: Arc<Door>,
    pub(super) address: IpAddr,
    /// Whether the address gave wrong logins of late. It is served after those that did not.
    pub(super) is_suspect: bool,
    pub(super) job: J,
}

/// What to do next.
pub(super) enum Next<J> {
    Job(Place<J>),
    /// The tunnels that have jobs are paced until then.
    Wait(Instant),
    Empty,
}

struct Tunnel<J> {
    door: Arc<Door>,
    clean: Addresses<J>,
    suspects: Addresses<J>,
}

/// Addresses with jobs, the next one in front.
type Addresses<J> = VecDeque<(IpAddr, VecDeque<J>)>;

impl<J> Queue<J> {
    pub(super) const fn new() -> Self {
        Self {
            tunnels: VecDeque::new(),
        }
    }

    /// Adds a job.
    ///
    /// # Errors
    /// The job, where the address, its tunnel or the relay has as many as it may.
    pub(super) fn push(&mut self, place: Place<J>) -> Result<(), Place<J>> {
        let all: usize = self.tunnels.iter().map(Tunnel::len).sum();
        let tunnel = self
            .tunnels
            .iter_mut()
            .find(|tunnel| Arc::ptr_eq(&tunnel.door, &place.door));
        let Some(tunnel) = tunnel else {
            if all >= MOST {
                return Err(place);
            }
            let mut tunnel = Tunnel::new(Arc::clone(&place.door));
            tunnel.push(place);
            self.tunnels.push_back(tunnel);
            return Ok(());
        };
        let is_full = all >= MOST || tunnel.len() >= MOST_OF_TUNNEL;
        if is_full || tunnel.len_of(place.address) >= MOST_OF_ADDRESS {
            return Err(place);
        }
        tunnel.push(place);
        Ok(())
    }

    /// Removes jobs that are no longer wanted.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(&J) -> bool) {
        for tunnel in &mut self.tunnels {
            for addresses in [&mut tunnel.clean, &mut tunnel.suspects] {
                for (_, jobs) in addresses.iter_mut() {
                    jobs.retain(&is_wanted);
                }
                addresses.retain(|(_, jobs)| !jobs.is_empty());
            }
        }
        self.tunnels.retain(|tunnel| tunnel.len() > 0);
    }

    /// Takes the next job, of the first tunnel in turn that is not paced.
    pub(super) fn pop(&mut self, now: Instant) -> Next<J> {
        let times = self.tunnels.iter().map(|tunnel| tunnel.door.next_check());
        let times: Vec<Option<Instant>> = times.collect();
        let is_free = |time: &Option<Instant>| time.is_none_or(|time| time <= now);
        let Some(index) = times.iter().position(is_free) else {
            let first = times.into_iter().flatten().min();
            return first.map_or(Next::Empty, Next::Wait);
        };
        let Some(mut tunnel) = self.tunnels.remove(index) else {
            return Next::Empty;
        };
        let popped = tunnel.pop();
        if tunnel.len() > 0 {
            self.tunnels.push_back(tunnel);
        }
        popped.map_or(Next::Empty, Next::Job)
    }
}

impl<J> Tunnel<J> {
    const fn new(door: Arc<Door>) -> Self {
        Self {
            door,
            clean: VecDeque::new(),
            suspects: VecDeque::new(),
        }
    }

    fn len(&self) -> usize {
        let all = self.clean.iter().chain(&self.suspects);
        all.map(|(_, jobs)| jobs.len()).sum()
    }

    fn len_of(&self, address: IpAddr) -> usize {
        let all = self.clean.iter().chain(&self.suspects);
        let own = all.filter(|(other, _)| *other == address);
        own.map(|(_, jobs)| jobs.len()).sum()
    }

    fn push(&mut self, place: Place<J>) {
        let addresses = if place.is_suspect {
            &mut self.suspects
        } else {
            &mut self.clean
        };
        match addresses
            .iter_mut()
            .find(|(address, _)| *address == place.address)
        {
            Some((_, jobs)) => jobs.push_back(place.job),
            None => addresses.push_back((place.address, VecDeque::from([place.job]))),
        }
    }

    fn pop(&mut self) -> Option<Place<J>> {
        let is_suspect = self.clean.is_empty();
        let addresses = if is_suspect {
            &mut self.suspects
        } else {
            &mut self.clean
        };
        let (address, mut jobs) = addresses.pop_front()?;
        let job = jobs.pop_front()?;
        if !jobs.is_empty() {
            addresses.push_back((address, jobs));
        }
        Some(Place {
            door: Arc::clone(&self.door),
            address,
            is_suspect,
            job,
        })
    }
}

/// Jobs that wait, in all.
const MOST: usize = 1_024;

/// Jobs of one tunnel that wait: far more than it is served in the time that one may wait.
const MOST_OF_TUNNEL: usize = 256;

/// Jobs of one address at one tunnel that wait: a program that opens many connections at once.
const MOST_OF_ADDRESS: usize = 16;

#[cfg(test)]
mod tests {
    use super::{Door, MOST, MOST_OF_ADDRESS, MOST_OF_TUNNEL, Next, Place, Queue};
    use ggrok_protocol::Rules;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;
    use tokio::time::Instant;

    fn door() -> Arc<Door> {
        Arc::new(Door::new(Rules::default()))
    }

    fn place(door: &Arc<Door>, address: u32, job: usize) -> Place<usize> {
        Place {
            door: Arc::clone(door),
            address: IpAddr::V4(Ipv4Addr::from_bits(address)),
            is_suspect: false,
            job,
        }
    }

    fn jobs(queue: &mut Queue<usize>) -> Vec<usize> {
        let mut jobs = Vec::new();
        while let Next::Job(place) = queue.pop(Instant::now()) {
            jobs.push(place.job);
        }
        jobs
    }

    #[test]
    fn serves_tunnels_and_their_addresses_in_turn() {
        let (one, other) = (door(), door());
        let mut queue = Queue::new();
        for (address, job) in [(1, 10), (1, 11), (1, 12), (2, 20)] {
            assert!(queue.push(place(&one, address, job)).is_ok());
        }
        assert!(queue.push(place(&other, 9, 90)).is_ok());
        assert_eq!(jobs(&mut queue), [10, 90, 20, 11, 12]);
    }

    #[test]
    fn serves_addresses_without_wrong_logins_first() {
        let door = door();
        let mut queue = Queue::new();
        for job in 0..3 {
            let suspect = Place {
                is_suspect: true,
                ..place(&door, 1, job)
            };
            assert!(queue.push(suspect).is_ok());
        }
        assert!(queue.push(place(&door, 2, 7)).is_ok());
        assert_eq!(jobs(&mut queue), [7, 0, 1, 2]);
    }

    #[test]
    fn is_bounded_for_an_address_a_tunnel_and_the_relay() {
        let mut queue = Queue::new();
        let first = door();
        for job in 0..MOST_OF_ADDRESS {
            assert!(queue.push(place(&first, 0, job)).is_ok());
        }
        assert!(queue.push(place(&first, 0, 0)).is_err());
        for address in 1.. {
            if queue.push(place(&first, address, 0)).is_err() {
                break;
            }
        }
        assert_eq!(queue.tunnels[0].len(), MOST_OF_TUNNEL);
        while queue.push(place(&door(), 0, 0)).is_ok() {}
        assert_eq!(queue.tunnels.len(), 1 + MOST - MOST_OF_TUNNEL);
        queue.retain(|job| *job == 1);
        assert_eq!(jobs(&mut queue), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn serves_other_tunnels_while_one_is_paced() {
        let (guessed, other) = (door(), door());
        for _ in 0..1_000 {
            guessed.failed();
        }
        let mut queue = Queue::new();
        assert!(queue.push(place(&guessed, 1, 1)).is_ok());
        assert!(queue.push(place(&other, 1, 2)).is_ok());
        assert_eq!(jobs(&mut queue), [2]);
        let Next::Wait(until) = queue.pop(Instant::now()) else {
            panic!("it is not paced");
        };
        assert!(matches!(queue.pop(until), Next::Job(place) if place.job == 1));
    }
}
