//! The budget of bytes that one process spends on its peers.
//!
//! [`Memory`] is the budget. An [`Account`] is what one peer, or one group of peers, has reserved out of
//! it; a [`Reservation`] returns its bytes when it is dropped:
//!
//! ```
//! # use ggrok_protocol::Memory;
//! let memory = Memory::new(64 << 20);
//! let account = memory.account();
//! let mut head = account.try_reserve(16 << 10).expect("the budget has room");
//! assert!(head.try_grow(16 << 10));
//! assert_eq!((account.used(), memory.used()), (32 << 10, 32 << 10));
//! drop(head);
//! assert_eq!(memory.used(), 0);
//! ```
//!
//! All of it is a few relaxed atomics. Which peer gives way when the budget is short is not decided here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget of bytes. Clones share it.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Memory {
    /// Makes a budget of this many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Budget {
            limit,
            used: AtomicUsize::new(0),
        }))
    }

    /// Bytes that may be reserved.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Bytes that are reserved.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes that are left.
    #[must_use]
    pub fn free(&self) -> usize {
        self.limit().saturating_sub(self.used())
    }

    /// Whether less than a quarter of the budget is left. Then what can do with less, such as a large
    /// window, should shrink.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.free() < self.limit() / 4
    }

    /// Opens an account that reserves out of this budget.
    #[must_use]
    pub fn account(&self) -> Account {
        Account(Arc::new(Held {
            memory: self.clone(),
            used: AtomicUsize::new(0),
        }))
    }
}

/// What one peer has reserved of a [`Memory`]. Clones are the same account.
#[derive(Clone, Debug)]
pub struct Account(Arc<Held>);

#[derive(Debug)]
struct Held {
    memory: Memory,
    used: AtomicUsize,
}

impl Account {
    /// The budget that the account reserves from.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// Bytes that are reserved in this account.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Whether anything else refers to the account: a clone, or a reservation.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Reserves bytes where the budget has them.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Reservation> {
        self.take(bytes).then(|| Reservation {
            account: self.clone(),
            bytes,
        })
    }

    /// Reserves bytes that are held already, even beyond the budget's limit.
    pub fn reserve(&self, bytes: usize) -> Reservation {
        self.0.memory.0.used.fetch_add(bytes, Ordering::Relaxed);
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        Reservation {
            account: self.clone(),
            bytes,
        }
    }

    fn take(&self, bytes: usize) -> bool {
        let Budget { limit, used } = &*self.0.memory.0;
        let before = used.fetch_add(bytes, Ordering::Relaxed);
        if before.checked_add(bytes).is_none_or(|used| used > *limit) {
            used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        true
    }

    fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        self.0.memory.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes that are reserved, until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    account: Account,
    bytes: usize,
}

impl Reservation {
    /// Bytes that are reserved.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The account that they are reserved in.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// Reserves more bytes where the budget has them, and returns whether it does.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let grown = self.account.take(bytes);
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Returns bytes to the budget; all of them where it holds fewer.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.account.give_back(bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn reserves_up_to_its_limit_over_all_accounts() {
        let memory = Memory::new(100);
        let (ana, ben) = (memory.account(), memory.account());
        let mut first = ana.try_reserve(60).unwrap();
        assert!(ben.try_reserve(41).is_none());
        let second = ben.try_reserve(40).unwrap();
        assert!(!first.try_grow(1));
        assert!(ben.try_reserve(usize::MAX).is_none());
        assert_eq!((ana.used(), ben.used(), memory.free()), (60, 40, 0));
        drop(second);
        assert!(first.try_grow(40));
        first.shrink(70);
        assert_eq!((first.bytes(), ana.used(), memory.used()), (30, 30, 30));
        drop(first);
        assert_eq!((ana.used(), ben.used(), memory.used()), (0, 0, 0));
    }

    #[test]
    fn counts_bytes_that_are_held_already_beyond_its_limit() {
        let memory = Memory::new(100);
        let account = memory.account();
        let held = account.reserve(130);
        assert_eq!((memory.free(), memory.used()), (0, 130));
        assert!(account.try_reserve(1).is_none());
        drop(held);
        assert!(account.try_reserve(100).is_some());
    }

    #[test]
    fn is_short_where_less_than_a_quarter_is_left() {
        let memory = Memory::new(100);
        let account = memory.account();
        let mut held = account.try_reserve(75).unwrap();
        assert!(!memory.is_short());
        assert!(held.try_grow(1) && memory.is_short());
        held.shrink(1);
        assert!(!memory.is_short());
    }
}
