//! Whether a message of the peer is due.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::message_limit::Policy;
use crate::{Admission, FrameStart, TransportError};

/// Whether it is the peer's turn. A message that begins when it is not breaks the rules, however long it is.
#[derive(Debug)]
pub(super) struct Due(AtomicBool);

impl Due {
    pub(super) const fn new(is_due: bool) -> Self {
        Self(AtomicBool::new(is_due))
    }

    pub(super) fn set(&self, is_due: bool) {
        self.0.store(is_due, Ordering::Relaxed);
    }
}

impl Policy for Due {
    fn admit(&self, _: FrameStart<'_>) -> Result<Admission, TransportError> {
        if self.0.load(Ordering::Relaxed) {
            Ok(Admission::Read)
        } else {
            Err(TransportError::OutOfTurn)
        }
    }
}
