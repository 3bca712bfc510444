//! The local server, a process of its own: answers as cheaply as it can.

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::content::Content;

/// What `/hello` answers.
pub const HELLO: &[u8] = b"Hello, World!";

/// Listens, says on standard output where, and serves.
pub async fn play() -> anyhow::Result<()> {
    let listener = crate::part::listener("127.0.0.1:0".parse()?)?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener).await
}

async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let content = Arc::new(Content::new());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("cannot accept")?;
                let content = content.clone();
                connections.spawn(async move { keep(stream, &content).await.ok() });
            }
        }
    }
}

/// Answers the requests of a connection until it ends.
async fn keep(mut stream: TcpStream, content: &Content) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let request = loop {
            if let Some(request) = Request::read(&buffer)? {
                break request;
            }
            ensure!(buffer.len() < 64 << 10, "a head without end");
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        buffer.drain(..request.end);
        match request.asks {
            Asks::Hello => stream.write_all(HELLO_ANSWER).await?,
            Asks::Bytes(length) => send(&mut stream, content, length).await?,
            Asks::Sink(length) => {
                let verdict = take(&mut stream, &mut buffer, content, length).await?;
                answer(&mut stream, verdict.as_bytes()).await?;
            }
        }
        if request.closes {
            stream.shutdown().await?;
            return Ok(());
        }
    }
}

/// What a request wants.
enum Asks {
    /// `/hello`: 13 bytes.
    Hello,
    /// `/bytes/N`: so much of the content.
    Bytes(u64),
    /// A POST: whether its body is the content.
    Sink(u64),
}

struct Request {
    /// Where its head ends.
    end: usize,
    asks: Asks,
    closes: bool,
}

impl Request {
    fn read(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(end) = request.parse(bytes)? else {
            return Ok(None);
        };
        let field = |name: &str| {
            let mut fields = request.headers.iter();
            let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(field.value).ok()
        };
        let closes = field("connection").is_some_and(|option| option.eq_ignore_ascii_case("close"));
        let target = request.path.unwrap_or_default();
        let asks = if request.method == Some("POST") {
            let length = field("content-length").context("no length")?;
            Asks::Sink(length.parse()?)
        } else if target == "/hello" {
            Asks::Hello
        } else if let Some(length) = target.strip_prefix("/bytes/") {
            Asks::Bytes(length.parse()?)
        } else {
            bail!("nothing is at {target}");
        };
        Ok(Some(Self { end, asks, closes }))
    }
}

async fn answer(stream: &mut TcpStream, body: &[u8]) -> anyhow::Result<()> {
    let mut answer = head(body.len() as u64);
    answer.extend_from_slice(body);
    stream.write_all(&answer).await?;
    Ok(())
}

fn head(length: u64) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    )
    .into()
}

async fn send(stream: &mut TcpStream, content: &Content, length: u64) -> anyhow::Result<()> {
    // A small answer is one write, and so one packet.
    let mut start = head(length);
    let first = length.min(SMALL);
    start.extend_from_slice(content.at(0, first));
    stream.write_all(&start).await?;
    let mut offset = first;
    while offset < length {
        offset += stream.write(content.at(offset, length - offset)).await? as u64;
    }
    Ok(())
}

/// Reads a body, and says what came.
async fn take(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    content: &Content,
    length: u64,
) -> anyhow::Result<String> {
    let mut offset = 0;
    let mut intact = true;
    buffer.reserve(PIECE);
    loop {
        let piece = buffer.len().min(usize::try_from(length - offset)?);
        intact &= content.has(offset, &buffer[..piece]);
        buffer.drain(..piece);
        offset += piece as u64;
        if offset == length {
            let found = if intact { "intact" } else { "damaged" };
            return Ok(format!("{length} bytes, {found}"));
        }
        ensure!(stream.read_buf(buffer).await? > 0, "an unfinished body");
    }
}

const HELLO_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

/// Answers up to this size go out with their head.
const SMALL: u64 = 64 << 10;

/// What is read of a body at once.
const PIECE: usize = 256 << 10;
