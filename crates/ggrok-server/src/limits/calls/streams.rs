//! The streams of HTTP/2 that an address has open over all its connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ggrok_protocol::Reservation;

use super::table::Address;

/// The streams of one address. Refused calls are among them, since each holds an answer.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(super) address: Arc<Address>,
    pub(super) most: usize,
}

impl Streams {
    /// Counts one more stream; nothing where there are as many as there may be.
    pub(crate) fn open(&self) -> Option<StreamPermit> {
        let permit = StreamPermit {
            _cost: self.address.account.try_reserve(STREAM_BYTES)?,
            address: Arc::clone(&self.address),
        };
        let before = self.address.streams.fetch_add(1, Ordering::Relaxed);
        (before < self.most).then_some(permit)
    }
}

/// An open stream, until it is dropped.
#[must_use]
pub(crate) struct StreamPermit {
    address: Arc<Address>,
    _cost: Reservation,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.address.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a stream costs besides its call: its request's head, an answer, and what h2 keeps of both.
const STREAM_BYTES: usize = 8 << 10;
