//! One connection, byte by byte, at the visitor or at the local server.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Client, PATIENCE, Relay};

/// One connection. Dropping it closes it.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    pub const fn new(stream: TcpStream) -> Self {
        let buffer = Vec::new();
        Self { stream, buffer }
    }

    /// The connection, for another protocol. Nothing of it may have been read ahead.
    pub fn into_stream(self) -> TcpStream {
        assert_eq!(self.buffer, b"");
        self.stream
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    /// Sends bytes to a peer that may close the connection meanwhile.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await;
        sent.expect("nobody takes what is sent")
    }

    /// Sends bytes as one chunk of a body.
    pub async fn send_chunk(&mut self, bytes: &[u8]) {
        let size = format!("{:x}\r\n", bytes.len());
        self.send([size.as_bytes(), bytes, b"\r\n"].concat()).await;
    }

    /// Reads up to the empty line. Each byte is one character.
    pub async fn head(&mut self) -> String {
        let head = self.until(b"\r\n\r\n").await;
        head.into_iter().map(char::from).collect()
    }

    /// Reads up to and with these bytes.
    pub async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut searched = 0;
        loop {
            let found = self.buffer[searched..]
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                return self.buffer.drain(..searched + at + end.len()).collect();
            }
            searched = self.buffer.len().saturating_sub(end.len() - 1);
            self.more().await;
        }
    }

    /// Reads so many bytes.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            self.more().await;
        }
        self.buffer.drain(..length).collect()
    }

    /// Reads chunks until their content has this length; how it is cut is up to each hop.
    pub async fn chunks(&mut self, length: usize) -> Vec<u8> {
        let mut content = Vec::new();
        while content.len() < length {
            let chunk = self.chunk().await;
            assert_ne!(chunk, b"", "the body ended after {} bytes", content.len());
            content.extend(chunk);
        }
        content
    }

    /// Reads the content of one chunk, and nothing of what is behind the last one.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let line = self.until(b"\r\n").await;
        let size = std::str::from_utf8(&line).unwrap().trim();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return Vec::new();
        }
        let mut chunk = self.exactly(size + 2).await;
        assert_eq!(chunk.split_off(size), b"\r\n");
        chunk
    }

    /// Reads until the other side closes the connection, in order or not.
    pub async fn rest(mut self) -> Vec<u8> {
        let reading = self.stream.read_to_end(&mut self.buffer);
        let read = timeout(PATIENCE, reading).await;
        read.expect("the other side does not close").ok();
        self.buffer
    }

    async fn more(&mut self) {
        self.buffer.reserve(64 << 10);
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        let read = read.unwrap_or_else(|_| panic!("nothing came behind {}", self.shown()));
        let read = read.unwrap_or_else(|error| panic!("{error} behind {}", self.shown()));
        assert!(read > 0, "the connection ended behind {}", self.shown());
    }

    fn shown(&self) -> String {
        let end = self.buffer.len().min(2000);
        String::from_utf8_lossy(&self.buffer[..end]).into_owned()
    }
}

/// A relay and a client before a local server that the scenario plays itself.
pub struct Wires {
    pub listener: TcpListener,
    pub relay: Relay,
    pub client: Client,
}

impl Wires {
    pub async fn start() -> Self {
        Self::before(Relay::start().await).await
    }

    /// Starts a client of this relay.
    pub async fn before(relay: Relay) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::ready(ggrok_client::Config::new(
            relay.address.to_string().parse().unwrap(),
            listener.local_addr().unwrap().to_string().parse().unwrap(),
        ))
        .await;
        Self {
            listener,
            relay,
            client,
        }
    }

    /// A visitor who has said this. `HOST` stands for the relay's host.
    pub async fn visitor(&self, said: impl AsRef<str>) -> Wire {
        let mut visitor = Wire::connect(self.relay.address).await;
        let host = format!("Host: {}", self.relay.address);
        visitor.send(said.as_ref().replace("HOST", &host)).await;
        visitor
    }

    /// The next connection at the local server on which something is said.
    pub async fn local(&self) -> Wire {
        let accepting = async {
            loop {
                let (stream, _) = self.listener.accept().await.unwrap();
                // The client looks once whether anybody is there.
                if matches!(stream.peek(&mut [0]).await, Ok(1)) {
                    return Wire::new(stream);
                }
            }
        };
        let accepted = timeout(PATIENCE, accepting).await;
        accepted.expect("nobody came to the local server")
    }

    /// A visitor's request, and where it arrived, with its head.
    pub async fn call(&self, said: impl AsRef<str>) -> (Wire, Wire, String) {
        let visitor = self.visitor(said).await;
        let mut local = self.local().await;
        let head = local.head().await;
        (visitor, local, head)
    }
}

/// Bytes in which nothing repeats and each place can be told from another.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
