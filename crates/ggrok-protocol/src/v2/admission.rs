//! Which frames one end of a tunnel buffers.

use std::sync::Arc;

use super::frame::LargeFrame;
use super::send::CHUNK;
use super::session::Shared;
use crate::message_limit::Policy;
use crate::{Admission, FrameStart, TransportError, head_limit};

/// What is due to one end of a tunnel, by its calls.
#[derive(Debug)]
pub(crate) struct Frames {
    pub(crate) shared: Arc<Shared>,
    /// Whether the peer opens calls, as a relay does.
    pub(crate) opens_calls: bool,
}

impl Policy for Frames {
    fn admit(&self, frame: FrameStart<'_>) -> Result<Admission, TransportError> {
        if frame.is_text {
            return Err(TransportError::Violation("a frame is binary".into()));
        }
        if frame.length <= FrameStart::SMALL {
            return Ok(Admission::Read);
        }
        if frame.length > self.shared.limits.frame as u64 {
            return Err(TransportError::TooBig);
        }
        if frame.payload.is_empty() {
            // A message in several WebSocket frames, whose kind is not known yet.
            let is_due = self.opens_calls || !self.shared.calls.is_idle();
            let fits = frame.length <= LONGEST_HONEST;
            return if is_due && fits {
                Ok(Admission::Read)
            } else {
                Err(TransportError::TooBig)
            };
        }
        let call = match LargeFrame::of(frame.payload) {
            LargeFrame::Head(_) if self.opens_calls => return Ok(Admission::Read),
            LargeFrame::Head(call) | LargeFrame::Trailers(call) => call,
            LargeFrame::Unknown => return Ok(Admission::Skip),
            LargeFrame::TooLarge => return Err(TransportError::TooBig),
        };
        Ok(match self.shared.calls.find(call) {
            Some(_) => Admission::Read,
            None => Admission::Skip,
        })
    }
}

/// Bytes of the longest frame that an honest peer sends: a head with a chunk of body.
const LONGEST_HONEST: u64 = (head_limit::RESPONSE + CHUNK + 1024) as u64;
