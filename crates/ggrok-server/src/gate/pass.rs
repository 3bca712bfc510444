//! The way in by a link, which may end while a call is under way.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Grant;
use crate::error::RelayError;

/// The way in by a link, until that is revoked or expires, or its maker's token is. Clones are the same.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(super) grant: Arc<Grant>,
    pub(super) revoked: CancellationToken,
    pub(super) expires: Instant,
    pub(super) has_path: bool,
}

impl Pass {
    /// Whether the link is for a path alone.
    pub(super) const fn has_path(&self) -> bool {
        self.has_path
    }

    /// Waits for the end of the link. Cancel-safe.
    pub(crate) async fn ended(&self) {
        tokio::select! {
            () = self.revoked.cancelled() => {}
            () = self.grant.ended() => {}
            () = sleep_until(self.expires) => {}
        }
    }

    /// Waits for a response, and no longer than the link lasts.
    pub(crate) async fn bound<T>(
        self,
        calling: impl Future<Output = Result<T, RelayError>>,
    ) -> Result<T, RelayError> {
        tokio::select! {
            answer = calling => answer,
            () = self.ended() => Err(RelayError::LinkOver),
        }
    }
}

/// A response's body, which breaks off where the visitor's pass ends before it.
pub(crate) fn passing(body: Body, pass: Option<Pass>) -> Body {
    let Some(pass) = pass else {
        return body;
    };
    let ended = async move { pass.ended().await }.boxed();
    Body::new(Passing { body, ended })
}

struct Passing {
    body: Body,
    ended: BoxFuture<'static, ()>,
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended.poll_unpin(cx).is_ready() {
            self.ended = pending().boxed();
            let over = io::Error::other("the visitor's link is over");
            return Poll::Ready(Some(Err(axum::Error::new(over))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
