//! Flow control: how much of a body the peer may send, and how that grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Credit that every body starts with, in bytes, on both sides and without a word.
pub(crate) const INITIAL: u32 = 64 << 10;

/// Bytes that a tunnel's receivers may promise together.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<AtomicUsize>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    fn take(&self, bytes: u32) -> bool {
        let bytes = bytes as usize;
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            });
        taken.is_ok()
    }

    fn give_back(&self, bytes: u32) {
        self.0.fetch_add(bytes as usize, Ordering::Relaxed);
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
    budget: Budget,
}

/// The peer sent more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

impl Window {
    /// Opens a window of the initial size; nothing where the tunnel has promised all it may.
    pub(crate) fn open(budget: &Budget, largest: usize) -> Option<Self> {
        budget.take(INITIAL).then(|| Self {
            open: INITIAL,
            size: INITIAL,
            largest: u32::try_from(largest).unwrap_or(u32::MAX),
            read: 0,
            budget: budget.clone(),
        })
    }

    /// Notes bytes that arrived.
    pub(crate) fn receive(&mut self, bytes: usize) -> Result<(), Overflow> {
        let bytes = u32::try_from(bytes).map_err(|_| Overflow)?;
        self.open = self.open.checked_sub(bytes).ok_or(Overflow)?;
        Ok(())
    }

    /// Notes bytes that were read, and returns the credit to grant: in halves of the window, so
    /// that a grant is worth its frame. Whoever reads half a window at a time is fast, and gets a
    /// larger one while the budget allows.
    pub(crate) fn read(&mut self, bytes: usize) -> Option<u32> {
        self.read += u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.read < self.size / 2 {
            return None;
        }
        let mut credit = std::mem::take(&mut self.read);
        if self.size <= self.largest / 2 && self.budget.take(self.size) {
            credit += self.size;
            self.size *= 2;
        }
        self.open += credit;
        Some(credit)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.budget.give_back(self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, INITIAL, Overflow, Window};

    const LARGEST: usize = 1 << 20;

    #[test]
    fn grants_in_halves_and_grows_up_to_its_largest() {
        let budget = Budget::new(4 << 20);
        let mut window = Window::open(&budget, LARGEST).unwrap();
        assert_eq!(window.read(INITIAL as usize / 2 - 1), None);
        assert_eq!(window.read(1), Some(INITIAL / 2 + INITIAL));
        for _ in 0..20 {
            window.receive(window.size as usize / 2).unwrap();
            window.read(window.size as usize / 2);
        }
        assert_eq!(window.size as usize, LARGEST);
    }

    #[test]
    fn never_lets_in_more_than_it_granted() {
        let budget = Budget::new(INITIAL as usize);
        let mut window = Window::open(&budget, LARGEST).unwrap();
        assert!(
            Window::open(&budget, LARGEST).is_none(),
            "the budget is spent"
        );
        window.receive(INITIAL as usize).unwrap();
        assert_eq!(window.receive(1), Err(Overflow));
        // No room to grow: what is read is granted, and no more.
        assert_eq!(window.read(INITIAL as usize), Some(INITIAL));
        assert_eq!(window.receive(INITIAL as usize + 1), Err(Overflow));
        drop(window);
        assert!(
            Window::open(&budget, LARGEST).is_some(),
            "its bytes came back"
        );
    }
}
