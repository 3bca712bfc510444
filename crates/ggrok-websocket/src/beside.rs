//! Our end and the library's own, beside each other: whatever comes, both say the same.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use ggrok_protocol::{Message, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::message::{error, read};
use crate::{WebSocket, config};

/// Bytes of the longest message.
pub(crate) const LONGEST: usize = 400;

const PATIENCE: Duration = Duration::from_secs(20);

/// A relay's ends read what a client sent, through a pipe that holds so many bytes, and answer it.
pub(crate) fn relay_reads(sent: &[u8], room: usize) {
    run(async {
        let library = async |stream| library(stream, Role::Server).await;
        let expected = outcome(sent, room, library).await;
        let ours = async |stream| WebSocket::of_relay(stream, LONGEST).await;
        assert_eq!(outcome(sent, room, ours).await, expected);
    });
}

/// A client's ends read what a relay sent. What they answer differs, since each has masks of its own.
pub(crate) fn client_reads(sent: &[u8], room: usize) {
    run(async {
        let library = async |stream| library(stream, Role::Client).await;
        let (expected, _) = outcome(sent, room, library).await;
        let ours = async |stream| WebSocket::of_client(stream, &[], LONGEST).await;
        assert_eq!(outcome(sent, room, ours).await.0, expected);
    });
}

/// Runs a test to its end, with a clock of its own: a wait for nothing takes no time.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing of the system");
    let in_time = runtime.block_on(async { timeout(PATIENCE, test).await });
    in_time.expect("it ends");
}

async fn library(
    stream: DuplexStream,
    role: Role,
) -> impl Stream<Item = Result<Message, TransportError>> + Unpin {
    let socket = WebSocketStream::from_raw_socket(stream, role, Some(config(LONGEST))).await;
    socket.map(|message| message.map(read).map_err(error))
}

/// What was read, up to the end, and what was written.
type Outcome = (Vec<String>, Vec<u8>);

async fn outcome<S>(sent: &[u8], room: usize, open: impl AsyncFnOnce(DuplexStream) -> S) -> Outcome
where
    S: Stream<Item = Result<Message, TransportError>> + Unpin,
{
    let (near, mut far) = duplex(room);
    let socket = open(near).await;
    let reading = socket.map(|message| format!("{message:?}")).collect();
    let peer = async {
        let (mut from, mut to) = tokio::io::split(&mut far);
        let sending = async {
            // It may be refused before it has said all.
            to.write_all(sent).await.ok();
            to.shutdown().await.ok();
        };
        let mut written = vec![];
        let (_, read) = tokio::join!(sending, from.read_to_end(&mut written));
        read.expect("a pipe in memory does not fail");
        written
    };
    tokio::join!(reading, peer)
}
