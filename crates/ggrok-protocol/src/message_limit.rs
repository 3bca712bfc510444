//! How much of a message a transport may buffer at the moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::TransportError;

/// Decides how long the message that a transport is reading may be. A session, which knows what is due,
/// shares it with its transport, which asks before it buffers a frame.
#[derive(Clone, Debug)]
pub struct MessageLimit(Arc<dyn Policy>, Arc<Mutex<Option<Instant>>>);

/// A frame whose header has come.
#[derive(Clone, Copy, Debug)]
pub struct FrameStart<'a> {
    /// Bytes of its message up to the end of this frame.
    pub length: u64,
    /// Whether its message is text.
    pub is_text: bool,
    /// The first bytes of its payload, up to [`PEEKED`](Self::PEEKED). Only of a binary message in one frame;
    /// empty otherwise.
    pub payload: &'a [u8],
}

impl FrameStart<'_> {
    /// Bytes of a payload that a policy looks at.
    pub const PEEKED: usize = 6;

    /// Bytes of a message that is taken without a look at its payload.
    pub const SMALL: u64 = 65 << 10;
}

/// What a transport does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Reads it.
    Read,
    /// Throws its payload away as it comes: nobody waits for it.
    Skip,
}

/// What is due on one end of a tunnel.
pub(crate) trait Policy: std::fmt::Debug + Send + Sync {
    /// Admits a frame of data, or says why the tunnel ends.
    fn admit(&self, frame: FrameStart<'_>) -> Result<Admission, TransportError>;
}

impl MessageLimit {
    pub(crate) fn new(policy: Arc<dyn Policy>) -> Self {
        Self(policy, Arc::default())
    }

    /// Admits a frame of data.
    ///
    /// # Errors
    /// Says why the tunnel ends: the message is longer than any that is due, or none is due.
    pub fn admit(&self, frame: FrameStart<'_>) -> Result<Admission, TransportError> {
        self.0.admit(frame)
    }

    /// Notes whether a part of a message has come, and the rest has not.
    pub fn note_unfinished(&self, is_unfinished: bool) {
        let mut since = self.since();
        if is_unfinished {
            since.get_or_insert_with(Instant::now);
        } else {
            *since = None;
        }
    }

    /// Whether a message has been unfinished for so long.
    pub(crate) fn is_stalled(&self, time: Duration) -> bool {
        self.since().is_some_and(|since| since.elapsed() >= time)
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
