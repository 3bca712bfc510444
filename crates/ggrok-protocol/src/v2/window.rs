//! Flow control: how much of a body the peer may send, and how that grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::{Account, Reservation};

/// Credit that every body starts with, in bytes, on both sides and without a word.
pub(crate) const INITIAL: u32 = 64 << 10;

/// Who needs longer to read half a window is no fast reader.
const SLOW: Duration = Duration::from_secs(2);

/// Bytes of a head that are not counted: most heads are smaller, and the call's window is seldom full.
const UNCOUNTED: usize = 8 << 10;

/// Bytes that a tunnel's receivers may promise together.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Promised>);

#[derive(Debug)]
struct Promised {
    left: AtomicUsize,
    /// What windows leave when they grow, or a few large ones would keep new calls out.
    reserve: usize,
}

impl Budget {
    /// A budget for so many calls. They share half of it where not all find room.
    pub(crate) fn new(bytes: usize, calls: usize) -> Self {
        let reserve = calls.saturating_mul(INITIAL as usize).min(bytes / 2);
        let left = AtomicUsize::new(bytes);
        Self(Arc::new(Promised { left, reserve }))
    }

    /// Takes bytes where it leaves so many.
    fn take(&self, bytes: u32, leaving: usize) -> bool {
        let bytes = bytes as usize;
        let taken = self
            .0
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes).filter(|left| *left >= leaving)
            });
        taken.is_ok()
    }

    fn give_back(&self, bytes: u32) {
        self.0.left.fetch_add(bytes as usize, Ordering::Relaxed);
    }

    /// Bytes that are left.
    pub(crate) fn free(&self) -> usize {
        self.0.left.load(Ordering::Relaxed)
    }

    /// Whether new calls took of the reserve.
    fn is_short(&self) -> bool {
        self.free() < self.0.reserve
    }
}

/// A receiver's window: the peer may send `open` bytes more, and never has more than `size` of
/// them unread. Its bytes return to the budget when it is dropped.
#[derive(Debug)]
pub(crate) struct Window {
    open: u32,
    size: u32,
    /// What `size` may grow to.
    largest: u32,
    /// Read, and not yet granted anew.
    read: u32,
    /// When the last credit was granted, or the first byte was read.
    granted: Option<Instant>,
    /// Bytes of the call beside its body.
    charged: u32,
    budget: Budget,
    /// The bytes of both, in the account of who asked for the body.
    reserved: Option<Reservation>,
}

/// The peer sent more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

impl Window {
    /// Opens a window of the initial size; nothing where the tunnel has promised all it may, or the account's
    /// memory is spent.
    pub(crate) fn open(budget: &Budget, account: Option<&Account>, largest: usize) -> Option<Self> {
        let reserved = match account {
            Some(account) => Some(account.try_reserve(INITIAL as usize)?),
            None => None,
        };
        budget.take(INITIAL, 0).then(|| Self {
            open: INITIAL,
            size: INITIAL,
            largest: u32::try_from(largest).unwrap_or(u32::MAX),
            read: 0,
            granted: None,
            charged: 0,
            budget: budget.clone(),
            reserved,
        })
    }

    /// Takes bytes that the call holds beside its body, such as a head, out of the budget until this is
    /// dropped. Returns whether the budget has them. A few are not counted.
    pub(crate) fn charge(&mut self, bytes: usize) -> bool {
        if bytes <= UNCOUNTED {
            return true;
        }
        let charged = u32::try_from(bytes).unwrap_or(u32::MAX);
        if !self.budget.take(charged, 0) {
            return false;
        }
        let reserved = self.reserved.as_mut();
        if reserved.is_some_and(|reserved| !reserved.try_grow(bytes)) {
            self.budget.give_back(charged);
            return false;
        }
        self.charged += charged;
        true
    }

    /// Notes bytes that arrived.
    pub(crate) fn receive(&mut self, bytes: usize) -> Result<(), Overflow> {
        let bytes = u32::try_from(bytes).map_err(|_| Overflow)?;
        self.open = self.open.checked_sub(bytes).ok_or(Overflow)?;
        Ok(())
    }

    /// Notes bytes that were read, and returns the credit to grant: in halves of the window, so
    /// that a grant is worth its frame, or of a slow reader what it read in [`SLOW`], so that the peer
    /// sees it read.
    pub(crate) fn read(&mut self, bytes: usize) -> Option<u32> {
        self.read += u32::try_from(bytes).unwrap_or(u32::MAX);
        let now = Instant::now();
        let granted = *self.granted.get_or_insert(now);
        let is_slow = now - granted >= SLOW;
        if self.read < self.size / 2 && !is_slow {
            return None;
        }
        self.granted = Some(now);
        let read = std::mem::take(&mut self.read);
        let credit = self.resized(read, is_slow);
        self.open += credit;
        (credit > 0).then_some(credit)
    }

    /// Grows the window of a fast reader while the budget allows, and shrinks it again where new calls
    /// need room. Returns the credit for what was read.
    fn resized(&mut self, read: u32, is_slow: bool) -> u32 {
        if self.budget.is_short() || self.is_memory_short() {
            let kept_back = read.min(self.size - INITIAL);
            self.size -= kept_back;
            if let Some(reserved) = &mut self.reserved {
                reserved.shrink(kept_back as usize);
            }
            self.budget.give_back(kept_back);
            return read - kept_back;
        }
        let may_grow = !is_slow && self.size <= self.largest / 2;
        let grown = self.size;
        if !(may_grow && self.budget.take(grown, self.budget.0.reserve)) {
            return read;
        }
        if let Some(reserved) = &mut self.reserved
            && !reserved.try_grow(grown as usize)
        {
            self.budget.give_back(grown);
            return read;
        }
        self.size *= 2;
        read + grown
    }
}

impl Window {
    fn is_memory_short(&self) -> bool {
        let reserved = self.reserved.as_ref();
        reserved.is_some_and(|reserved| reserved.account().memory().is_short())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.budget.give_back(self.size + self.charged);
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, INITIAL, Overflow, SLOW, UNCOUNTED, Window};
    use crate::Memory;

    const LARGEST: usize = 1 << 20;

    /// A window that was read fast, until it has a size.
    fn grown(budget: &Budget, size: u32) -> Window {
        let mut window = Window::open(budget, None, LARGEST).unwrap();
        while window.size < size {
            reads_half(&mut window);
        }
        window
    }

    /// The peer sends half of a window, and it is read.
    fn reads_half(window: &mut Window) -> Option<u32> {
        let half = window.size / 2;
        window.receive(half as usize).unwrap();
        window.read(half as usize)
    }

    #[tokio::test(start_paused = true)]
    async fn grants_in_halves_and_grows_up_to_its_largest() {
        let budget = Budget::new(4 << 20, 10);
        let mut window = Window::open(&budget, None, LARGEST).unwrap();
        assert_eq!(window.read(INITIAL as usize / 2 - 1), None);
        assert_eq!(window.read(1), Some(INITIAL / 2 + INITIAL));
        for _ in 0..20 {
            reads_half(&mut window);
        }
        assert_eq!(window.size as usize, LARGEST);
    }

    #[test]
    fn counts_what_is_large_beside_the_body() {
        let budget = Budget::new(3 * INITIAL as usize, 1);
        let account = Memory::new(2 * INITIAL as usize).account();
        let mut window = Window::open(&budget, Some(&account), LARGEST).unwrap();
        assert!(window.charge(UNCOUNTED) && window.charge(INITIAL as usize));
        assert_eq!(account.used(), 2 * INITIAL as usize);
        assert!(!window.charge(UNCOUNTED + 1), "the account is spent");
        let other = Window::open(&budget, None, LARGEST).unwrap();
        assert!(Window::open(&budget, None, LARGEST).is_none());
        drop((window, other));
        assert_eq!((budget.free(), account.used()), (3 * INITIAL as usize, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn never_lets_in_more_than_it_granted() {
        let budget = Budget::new(INITIAL as usize, 1);
        let mut window = Window::open(&budget, None, LARGEST).unwrap();
        assert!(
            Window::open(&budget, None, LARGEST).is_none(),
            "the budget is spent"
        );
        window.receive(INITIAL as usize).unwrap();
        assert_eq!(window.receive(1), Err(Overflow));
        // No room to grow: what is read is granted, and no more.
        assert_eq!(window.read(INITIAL as usize), Some(INITIAL));
        assert_eq!(window.receive(INITIAL as usize + 1), Err(Overflow));
        drop(window);
        assert!(
            Window::open(&budget, None, LARGEST).is_some(),
            "its bytes came back"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn leaves_room_for_new_calls_and_makes_it_where_there_is_none() {
        let budget = Budget::new(3 << 20, 1000);
        let mut large = [0; 2].map(|_| grown(&budget, 512 << 10));
        let mut stopped = grown(&budget, 512 << 10);
        // What is left is the reserve alone.
        reads_half(&mut stopped);
        assert_eq!(stopped.size, 512 << 10);
        let calls: Vec<_> = std::iter::from_fn(|| Window::open(&budget, None, LARGEST)).collect();
        assert_eq!(calls.len(), 24);
        for window in &mut large {
            assert_eq!(reads_half(window), None);
            assert_eq!(window.size, 256 << 10);
            // The peer may still send what it was promised.
            window.receive(256 << 10).unwrap();
            assert_eq!(window.receive(1), Err(Overflow));
            window.read(256 << 10);
            window.receive(window.size as usize).unwrap();
        }
        let more: Vec<_> = std::iter::from_fn(|| Window::open(&budget, None, LARGEST)).collect();
        assert!(more.len() >= 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_gets_credit_and_no_larger_window() {
        let budget = Budget::new(4 << 20, 1);
        let mut window = Window::open(&budget, None, LARGEST).unwrap();
        for _ in 0..1000 {
            window.receive(1000).unwrap();
            assert_eq!(window.read(1), None);
            tokio::time::advance(SLOW).await;
            assert_eq!(window.read(999), Some(1000));
        }
        assert_eq!(window.size, INITIAL);
    }

    #[tokio::test(start_paused = true)]
    async fn reserves_what_it_promises_in_the_account_and_shrinks_where_memory_is_short() {
        let budget = Budget::new(64 << 20, 10);
        let memory = Memory::new(4 << 20);
        let account = memory.account();
        let mut window = Window::open(&budget, Some(&account), LARGEST).unwrap();
        assert_eq!(account.used(), INITIAL as usize);
        while window.size < 1 << 20 {
            reads_half(&mut window);
        }
        assert_eq!(account.used(), 1 << 20);
        let others = memory.account().reserve(3 << 20);
        while window.size > INITIAL {
            reads_half(&mut window);
        }
        assert_eq!(account.used(), INITIAL as usize);
        drop((window, others));
        assert_eq!(memory.used(), 0);
        let _all = memory.account().reserve(4 << 20);
        assert!(Window::open(&budget, Some(&account), LARGEST).is_none());
        assert_eq!(budget.free(), 64 << 20);
    }
}
