//! How many each address has of something at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::attempts::key;

/// How many each address has at a time. Of IPv6 the first 64 bits count. It holds no more than those
/// who are there. Clones are the same crowd.
#[derive(Clone)]
pub(crate) struct Crowd {
    present: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One of the crowd, until it is dropped.
#[must_use]
pub(crate) struct Guest {
    crowd: Crowd,
    address: IpAddr,
}

impl Crowd {
    /// Lets each address have so many.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            present: Arc::default(),
            most,
        }
    }

    /// Lets one more of an address in, where it has not as many as it may.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Guest> {
        let address = key(address);
        let mut present = self.present();
        let of_address = present.entry(address).or_default();
        // An address that is refused has others there, so its entry is not left behind.
        if *of_address >= self.most.max(1) {
            return None;
        }
        *of_address += 1;
        drop(present);
        Some(Guest {
            crowd: self.clone(),
            address,
        })
    }

    fn present(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Entry::Occupied(mut of_address) = self.crowd.present().entry(self.address) {
            *of_address.get_mut() -= 1;
            if *of_address.get() == 0 {
                of_address.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Crowd;
    use std::net::IpAddr;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn lets_each_address_have_so_many_and_forgets_who_left() {
        let crowd = Crowd::new(2);
        let (ana, ben) = (address("2001:db8::1"), address("192.0.2.1"));
        let first = crowd.enter(ana);
        let second = crowd.enter(address("2001:db8::2"));
        assert!(first.is_some() && second.is_some());
        assert!(crowd.enter(ana).is_none());
        assert!(crowd.enter(ben).is_some());
        drop(first);
        let third = crowd.enter(ana);
        assert!(third.is_some());
        drop((second, third));
        assert!(crowd.present().is_empty());
    }
}
