//! A visitor who speaks raw bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, dechunk, fields};

/// What a visitor got.
#[derive(Debug)]
pub struct Answer {
    /// From the status line to the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// All values of a field, in order.
    pub fn field(&self, name: &str) -> Vec<&str> {
        fields(&self.head, name)
    }

    /// The body, out of its chunks where it came in chunks; nothing where it broke off.
    pub fn whole(&self) -> Option<Vec<u8>> {
        match (
            &*self.field("transfer-encoding"),
            &*self.field("content-length"),
        ) {
            (["chunked"], _) => dechunk(&self.body).map(|(body, _)| body),
            (_, [length]) if *length != self.body.len().to_string() => None,
            _ => Some(self.body.clone()),
        }
    }

    /// The code by which ggrok marks its own answers.
    pub fn error(&self) -> Option<&str> {
        self.field("x-ggrok-error").first().copied()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends bytes on a new connection, reads until the relay closes it, and returns the first answer
/// with everything behind its head.
pub async fn raw(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let bytes = exchange(address, request.as_ref()).await;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&bytes))) + 4;
    Answer {
        head: bytes[..end].iter().map(|byte| char::from(*byte)).collect(),
        body: bytes[end..].to_vec(),
    }
}

/// Sends a GET for the relay's own host.
pub async fn get(address: SocketAddr, target: &str) -> Answer {
    raw(
        address,
        format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
    .await
}

/// Sends bytes on a new connection and reads until the relay closes it.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let writing = async {
            // The relay may answer and close before it has read all.
            to.write_all(request).await.ok();
        };
        let (_, read) = tokio::join!(writing, from.read_to_end(&mut bytes));
        // Behind an answer a reset is as good as an end.
        read.ok();
    };
    timeout(PATIENCE, reading)
        .await
        .expect("the relay neither answered nor closed");
    bytes
}
