//! One WebSocket with its two halves running side by side, and its end.

use std::pin::pin;
use std::time::Duration;

use futures_util::stream::SplitStream;
use futures_util::{Sink, SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::{Ending, Message, SessionError, Transport, TransportError};

/// Where a session puts what is to be written. Bounded, and never waited for: whoever reads must
/// not wait for writing, or two ends with full sockets wait for each other.
#[derive(Clone)]
pub(crate) struct Outbox(mpsc::Sender<Message>);

impl Outbox {
    /// Queues a message that must go out.
    pub(crate) fn post(&self, message: Message) -> Result<(), SessionError> {
        self.0.try_send(message).map_err(|_| SessionError::Stalled)
    }

    /// Queues a ping. A queue that is full needs none: what is in it shows that we live.
    pub(crate) fn ping(&self) {
        self.0.try_send(Message::Ping).ok();
    }
}

/// Runs a WebSocket until `read` returns, which is given what arrives and an outbox, or until
/// writing fails. Then says farewell.
pub(crate) async fn run<T, F>(
    transport: T,
    read: impl FnOnce(SplitStream<T>, Outbox) -> F,
) -> Result<Ending, SessionError>
where
    T: Transport,
    F: Future<Output = Result<Ending, SessionError>>,
{
    let (sink, stream) = transport.split();
    let (queue, queued) = mpsc::channel(QUEUE);
    let outbox = Outbox(queue);
    let mut writing = pin!(write(sink, queued));
    let ended = tokio::select! {
        ended = read(stream, outbox.clone()) => ended,
        Err(error) = &mut writing => return Err(error.into()),
    };
    let ending = match &ended {
        Ok(ending) => *ending,
        Err(error) => error.ending(),
    };
    if outbox.post(Message::Close(ending)).is_ok() {
        // The peer may be gone already; it is told, not asked.
        timeout(FAREWELL, writing).await.ok();
    }
    ended
}

/// Writes what is queued, up to a close frame.
async fn write(
    mut sink: impl Sink<Message, Error = TransportError> + Unpin,
    mut queued: mpsc::Receiver<Message>,
) -> Result<(), TransportError> {
    while let Some(message) = queued.recv().await {
        let last = matches!(message, Message::Close(_));
        sink.send(message).await?;
        if last {
            break;
        }
    }
    Ok(())
}

/// Messages that may wait to be written: one envelope, and the pings and the farewell beside it.
const QUEUE: usize = 8;

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
