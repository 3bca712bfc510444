//! One WebSocket with its two halves running side by side, and its end.

use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{Sink, SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::fair::Fair;
use crate::on_wake::OnWake;
use crate::{Ending, Message, SessionError, Transport, TransportError};

/// What arrives on a WebSocket.
pub(crate) type Messages<T> = Fair<OnWake<SplitStream<T>>>;

/// Takes a WebSocket apart into what goes out and what arrives.
pub(crate) fn split<T: Transport>(transport: T) -> (SplitSink<T, Message>, Messages<T>) {
    let (sink, stream) = transport.split();
    (sink, Fair::new(OnWake::new(stream)))
}

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
pub(crate) async fn run<T: Transport>(
    transport: T,
    read: impl AsyncFnOnce(&mut Messages<T>, Outbox) -> Result<Ending, SessionError>,
) -> Result<Ending, SessionError> {
    let (sink, mut stream) = split(transport);
    let (queue, queued) = mpsc::channel(QUEUE);
    let outbox = Outbox(queue);
    let mut writing = pin!(write(sink, queued));
    let ended = tokio::select! {
        ended = read(&mut stream, outbox.clone()) => ended,
        Err(error) = &mut writing => {
            let told = last_words(&mut stream).await;
            return told.ok_or_else(|| error.into());
        }
    };
    let Some(ending) = farewell(&ended) else {
        return ended;
    };
    if outbox.post(Message::Close(ending)).is_ok() {
        // The peer may be gone already; it is told, not asked.
        timeout(FAREWELL, writing).await.ok();
        // A peer that was silent for too long says no last words either.
        if !matches!(ended, Err(SessionError::Dead)) {
            last_words(&mut stream).await;
        }
    }
    ended
}

/// What to tell the peer at the end; nothing where the way to it is lost.
pub(crate) const fn farewell(ended: &Result<Ending, SessionError>) -> Option<Ending> {
    match ended {
        Ok(ending) => Some(*ending),
        Err(SessionError::Transport(TransportError::Lost(_))) => None,
        Err(error) => Some(error.ending()),
    }
}

/// Reads on up to the peer's close frame, for a moment. To close on what still comes would make
/// the peer's system throw our close frame away unread; and a peer that cannot be written to may
/// have said why.
pub(crate) async fn last_words<T: Transport>(stream: &mut Messages<T>) -> Option<Ending> {
    let reading = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Close(ending) = message {
                return Some(ending);
            }
        }
        None
    };
    timeout(FAREWELL, reading).await.ok().flatten()
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
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);
