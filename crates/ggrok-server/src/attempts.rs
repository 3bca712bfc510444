//! How often each address has been wrong of late: a bound on guessing.

mod tokens;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

pub(crate) use self::tokens::{Strength, TokenAttempts};

/// Failed attempts by address. Of IPv6 the first 64 bits count, since whoever has one address there
/// has the whole network. So many addresses are remembered; for another one the oldest is forgotten.
pub(crate) struct Attempts {
    failures: Mutex<LruCache<IpAddr, Failures>>,
    /// Failures of an address in a period.
    most: u32,
}

/// The failures of one address within a minute from the first of them.
struct Failures {
    first: Instant,
    count: u32,
}

impl Attempts {
    /// Lets each address fail so often in a minute.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            failures: Mutex::new(LruCache::new(ADDRESSES)),
            most,
        }
    }

    /// Whether an address may try.
    ///
    /// # Errors
    /// How long it has to wait, where it has failed too often.
    pub(crate) fn allowed(&self, address: IpAddr) -> Result<(), Duration> {
        match self.failures().peek(&key(address)) {
            Some(Failures { first, count }) if *count >= self.most => {
                let left = PERIOD.saturating_sub(first.elapsed());
                if left.is_zero() { Ok(()) } else { Err(left) }
            }
            _ => Ok(()),
        }
    }

    /// Whether an address has failed within the last minute.
    pub(crate) fn has_failed(&self, address: IpAddr) -> bool {
        let failures = self.failures();
        let of_address = failures.peek(&key(address));
        of_address.is_some_and(|failures| failures.first.elapsed() < PERIOD)
    }

    /// Notes that an address tried, and failed.
    pub(crate) fn failed(&self, address: IpAddr) {
        let mut failures = self.failures();
        let fresh = || Failures {
            first: Instant::now(),
            count: 0,
        };
        let of_address = failures.get_or_insert_mut(key(address), fresh);
        if of_address.first.elapsed() >= PERIOD {
            *of_address = fresh();
        }
        of_address.count += 1;
    }

    /// All failures that are remembered.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u32 {
        self.failures()
            .iter()
            .map(|(_, failures)| failures.count)
            .sum()
    }

    fn failures(&self) -> MutexGuard<'_, LruCache<IpAddr, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that is counted for somebody. Those whose address nobody knows are one, or they would have
/// no bound at all.
pub(crate) fn counted(address: Option<IpAddr>) -> IpAddr {
    address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// What an address counts as: itself, or in IPv6 its network of 64 bits.
pub(crate) fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

const PERIOD: Duration = Duration::from_secs(60);

/// Addresses that are remembered: less than 2 MiB.
const ADDRESSES: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

#[cfg(test)]
mod tests {
    use super::{ADDRESSES, Attempts, PERIOD};
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;
    use tokio::time::advance;

    const MOST: u32 = 10;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn fail(attempts: &Attempts, address: IpAddr, times: u32) {
        for _ in 0..times {
            attempts.allowed(address).unwrap();
            attempts.failed(address);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lets_an_address_fail_ten_times_a_minute() {
        let attempts = Attempts::new(MOST);
        let guesser = address("192.0.2.1");
        fail(&attempts, guesser, MOST);
        advance(Duration::from_secs(20)).await;
        let wait = attempts.allowed(guesser).unwrap_err();
        assert_eq!(wait, PERIOD - Duration::from_secs(20));
        assert_eq!(attempts.allowed(address("192.0.2.2")), Ok(()));
        advance(wait).await;
        fail(&attempts, guesser, MOST);
        attempts.allowed(guesser).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn forgets_failures_that_are_a_minute_old() {
        let attempts = Attempts::new(MOST);
        let person = address("192.0.2.1");
        for _ in 0..5 {
            fail(&attempts, person, MOST - 1);
            advance(PERIOD).await;
        }
        assert_eq!(attempts.allowed(person), Ok(()));
    }

    #[test]
    fn takes_a_network_of_ipv6_for_one_address() {
        let attempts = Attempts::new(MOST);
        for last in 0..MOST {
            attempts.failed(address(&format!("2001:db8:1:2::{last:x}")));
        }
        attempts.allowed(address("2001:db8:1:2:3::")).unwrap_err();
        assert_eq!(attempts.allowed(address("2001:db8:1:3::")), Ok(()));

        fail(&attempts, address("::ffff:192.0.2.1"), MOST);
        attempts.allowed(address("192.0.2.1")).unwrap_err();
        assert_eq!(attempts.allowed(address("192.0.2.2")), Ok(()));
    }

    #[test]
    fn remembers_so_many_addresses_and_no_more() {
        let attempts = Attempts::new(MOST);
        let numbered = |number: usize| {
            let bits = u32::try_from(number).unwrap();
            IpAddr::from(Ipv4Addr::from_bits(bits))
        };
        fail(&attempts, numbered(0), MOST);
        for number in 1..ADDRESSES.get() {
            attempts.failed(numbered(number));
        }
        attempts.allowed(numbered(0)).unwrap_err();
        attempts.failed(numbered(ADDRESSES.get()));
        assert_eq!(attempts.allowed(numbered(0)), Ok(()), "the oldest");
        assert_eq!(attempts.failures().len(), ADDRESSES.get());
    }
}
