//! One connection to the local server.

use std::future::poll_fn;

use futures_util::future::join;
use ggrok_protocol::TunnelBody;
use hyper::client::conn::http1::{self, Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::again::Again;
use super::in_pieces::InPieces;
use crate::upstream::Opened;

/// One connection to the local server. Dropping it closes the connection, unless that has become
/// another protocol's.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) sender: SendRequest<TunnelBody>,
    /// Where a response can be asked for that is read again.
    again: Option<oneshot::Receiver<SendRequest<TunnelBody>>>,
    task: AbortHandle,
}

impl Connection {
    /// Takes a connection over, for requests that ask for no upgrade.
    pub(super) async fn new(opened: Opened) -> hyper::Result<Self> {
        let Opened { stream, serving } = opened;
        let io = TokioIo::new(InPieces::new(stream));
        // With hyper's own limit, since it fills a larger table of fields for each response.
        let (sender, connection) = Builder::new().handshake(io).await?;
        let (again, asked_again) = oneshot::channel();
        let task = tokio::spawn(join(drive(connection, again), serving));
        Ok(Self {
            sender,
            again: Some(asked_again),
            task: task.abort_handle(),
        })
    }

    /// Takes a connection over, for a request that asks for an upgrade.
    pub(super) async fn for_upgrade(opened: Opened) -> hyper::Result<Self> {
        let Opened { stream, serving } = opened;
        let io = TokioIo::new(InPieces::new(stream));
        let (sender, connection) = wide().handshake(io).await?;
        let task = tokio::spawn(join(connection.with_upgrades(), serving));
        Ok(Self {
            sender,
            again: None,
            task: task.abort_handle(),
        })
    }

    /// Makes ready to read a response again that has more fields than there was room for: it answers the
    /// next request, which is not sent. Returns whether there is one.
    pub(super) async fn read_again(&mut self) -> bool {
        let Some(again) = self.again.take() else {
            return false;
        };
        let Ok(sender) = again.await else {
            return false;
        };
        self.sender = sender;
        true
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Drives a connection to its end, or until a response has more fields than hyper takes. What is unread
/// then is read again, if anybody asks `again`.
async fn drive<S>(
    mut connection: http1::Connection<TokioIo<S>, TunnelBody>,
    again: oneshot::Sender<SendRequest<TunnelBody>>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Whoever waits for a response hears of the error; an idle connection may end.
    poll_fn(|cx| connection.poll_without_shutdown(cx))
        .await
        .ok();
    let parts = connection.into_parts();
    if parts.read_buf.is_empty() {
        return;
    }
    let io = TokioIo::new(Again::new(parts.io.into_inner(), parts.read_buf));
    if let Ok((sender, connection)) = wide().handshake(io).await
        && again.send(sender).is_ok()
    {
        connection.await.ok();
    }
}

/// With room for all the fields that a response may have.
fn wide() -> Builder {
    let mut builder = Builder::new();
    builder.max_headers(MAX_FIELDS);
    builder
}

/// Fields that a response may have. The library's own limit is 100, and some apps set more cookies.
const MAX_FIELDS: usize = 500;
