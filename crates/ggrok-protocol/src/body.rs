//! The body of a request or response that came through a tunnel.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::OwnedSemaphorePermit;

use crate::TransportError;

/// The body of a request or response that came through a tunnel: whole, since the dialects so far
/// carry one message each way. Its bytes count against the tunnel's
/// [`held`](crate::Limits::held) bytes until it is dropped.
#[derive(Debug)]
pub struct TunnelBody {
    whole: Full<Bytes>,
    _held: Option<OwnedSemaphorePermit>,
}

impl TunnelBody {
    /// Makes a body without content.
    #[must_use]
    pub fn empty() -> Self {
        Self::whole(Bytes::new(), None)
    }

    pub(crate) fn whole(bytes: Bytes, held: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            whole: Full::new(bytes),
            _held: held,
        }
    }
}

impl Body for TunnelBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        Pin::new(&mut self.whole)
            .poll_frame(cx)
            .map_err(|never| match never {})
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.whole.size_hint()
    }
}
