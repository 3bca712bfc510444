//! A request's body that comes back when whoever has it is done with it.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// A body that goes back to its lender when it is dropped.
pub(crate) struct Lent {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

/// Lends a body. The receiver has it back at the end.
pub(crate) fn lend(body: Body) -> (Lent, oneshot::Receiver<Body>) {
    let (back, returned) = oneshot::channel();
    let lent = Lent {
        body,
        back: Some(back),
    };
    (lent, returned)
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // The lender may not want it any more.
            back.send(std::mem::take(&mut self.body)).ok();
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
