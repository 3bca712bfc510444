//! The body of a request or response that came through a tunnel.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::BodyError;
use crate::unary::Held;
use crate::v2;

/// The body of a request or response that came through a tunnel.
///
/// It is whole where the dialect carries one message each way, and streamed otherwise. Then reading
/// it lets the other side send more, and dropping it before its end gives the call up. Bytes that
/// it holds count against the tunnel's [`held`](crate::Limits::held) ones.
#[derive(Debug)]
pub struct TunnelBody(Kind);

#[derive(Debug)]
enum Kind {
    Whole {
        bytes: Bytes,
        /// The head was large, so the body is not said to be empty: see the streamed bodies.
        has_large_head: bool,
        _held: Option<Held>,
    },
    Response(v2::ResponseBody),
    Request(v2::RequestBody),
}

impl TunnelBody {
    /// Makes a body without content.
    #[must_use]
    pub fn empty() -> Self {
        Self::whole(Bytes::new(), None)
    }

    pub(crate) const fn whole(bytes: Bytes, held: Option<Held>) -> Self {
        Self(Kind::Whole {
            bytes,
            has_large_head: false,
            _held: held,
        })
    }

    /// Notes how long the head of a body that is whole was.
    pub(crate) const fn behind_head_of(mut self, length: usize) -> Self {
        if let Kind::Whole { has_large_head, .. } = &mut self.0 {
            *has_large_head = length >= v2::LARGE_HEAD;
        }
        self
    }

    pub(crate) const fn response(body: v2::ResponseBody) -> Self {
        Self(Kind::Response(body))
    }

    pub(crate) const fn request(body: v2::RequestBody) -> Self {
        Self(Kind::Request(body))
    }
}

/// A body that is whole is still given out in slices: whoever writes it to a slow socket takes no
/// more than it can write, and the bytes stay counted until the last slice is taken.
const SLICE: usize = 64 << 10;

impl Body for TunnelBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Whole { bytes, .. } => {
                let slice = bytes.split_to(bytes.len().min(SLICE));
                Poll::Ready((!slice.is_empty()).then(|| Ok(Frame::data(slice))))
            }
            Kind::Response(body) => Pin::new(body).poll_frame(cx),
            Kind::Request(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole {
                bytes,
                has_large_head,
                ..
            } => bytes.is_empty() && !has_large_head,
            Kind::Response(body) => body.is_end_stream(),
            Kind::Request(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            Kind::Response(body) => body.size_hint(),
            Kind::Request(body) => body.size_hint(),
        }
    }
}
