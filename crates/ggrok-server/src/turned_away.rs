//! A connection for which there is no room: told so, and closed.

use std::time::Duration;

use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::RelayError;

/// Answers a connection's first request with an error, whatever it is, and closes. Whoever asks nothing
/// for 1 s is closed without a word.
pub(crate) async fn answer(mut stream: TcpStream, error: RelayError) {
    let answering = async {
        // Not before: an answer to nothing would be taken for a fault.
        stream.readable().await?;
        stream.write_all(&error.on_the_wire()).await?;
        stream.shutdown().await?;
        // Closing on bytes that are unread would make the peer's system throw the answer away.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    timeout(PATIENCE, answering).await.ok();
}

/// How long one who is turned away may take.
const PATIENCE: Duration = Duration::from_secs(1);
