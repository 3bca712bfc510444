//! A local server that keeps what it sees, byte by byte, and answers what it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// From the request line to the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap()
    }

    /// All values of a field, in order.
    pub fn field(&self, name: &str) -> Vec<&str> {
        fields(&self.head, name)
    }
}

/// All values of a field of a head, in order.
pub fn fields<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

/// A local server. It stops when it is dropped.
pub struct Origin {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
    task: AbortHandle,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Bytes that make the local server close the connection after them.
pub const CLOSE: &[u8] = b"connection: close\r\n";

impl Origin {
    /// Answers every request by a function.
    pub async fn start(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, answer)
    }

    /// Answers every request on a listener of the caller's.
    pub fn serve(
        listener: TcpListener,
        answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let connections: Arc<Mutex<usize>> = Arc::default();
        let (log, opened, answer) = (
            Arc::clone(&seen),
            Arc::clone(&connections),
            Arc::new(answer),
        );
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *opened.lock().unwrap() += 1;
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                open.spawn(async move { converse(stream, &log, &*answer).await });
            }
        });
        Self {
            address,
            seen,
            connections,
            task: task.abort_handle(),
        }
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last request.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the local server saw no request")
    }

    /// Connections that were opened so far.
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn converse(
    mut stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    answer: &(impl Fn(&Seen) -> Vec<u8> + Sync),
) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        log.lock().unwrap().push(request.clone());
        let bytes = answer(&request);
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        if bytes.windows(CLOSE.len()).any(|window| window == CLOSE) {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    // Latin-1, so that each byte is one character.
    let head: String = buffer[..end].iter().map(|byte| char::from(*byte)).collect();
    if fields(&head, "transfer-encoding") == ["chunked"] {
        let body = read_chunks(stream, buffer, end).await?;
        return Some(Seen { head, body });
    }
    let length = fields(&head, "content-length")
        .first()
        .map_or(0, |length| length.parse().unwrap());
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[end..end + length].to_vec();
    buffer.drain(..end + length);
    Some(Seen { head, body })
}

async fn read_chunks(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    start: usize,
) -> Option<Vec<u8>> {
    loop {
        if let Some((body, length)) = dechunk(&buffer[start..]) {
            buffer.drain(..start + length);
            return Some(body);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Joins the chunks of a body; nothing where the last one is not there. Returns how long they were.
pub fn dechunk(chunked: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let line = chunked[at..].windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&chunked[at..at + line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        at += line + 2;
        if size == 0 {
            let trailers = chunked[at - 2..]
                .windows(4)
                .position(|four| four == b"\r\n\r\n")?;
            return Some((body, at - 2 + trailers + 4));
        }
        body.extend_from_slice(chunked.get(at..at + size)?);
        at += size + 2;
    }
}
