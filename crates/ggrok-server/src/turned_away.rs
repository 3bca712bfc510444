//! The refusal of a connection for which there is no room.

use std::time::Duration;

use tokio::io::{self, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::RelayError;

/// Answers a connection's first request, of which something has been read, with an error, and closes.
pub(crate) async fn answer(mut stream: TcpStream, error: RelayError) {
    let answering = async {
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
