//! One connection of a visitor: sends prepared requests, and checks the answers.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::content::Content;

/// Where visitors find a tunnel.
#[derive(Clone, Debug)]
pub struct Door {
    pub address: SocketAddr,
    /// What their Host field says.
    pub host: String,
}

impl Door {
    /// A GET as a browser sends it: twelve fields, some 750 bytes.
    pub fn get(&self, path: &str) -> Vec<u8> {
        get(&self.host, path, "keep-alive")
    }

    /// The same, on a connection that is to be closed then.
    pub fn get_and_close(&self, path: &str) -> Vec<u8> {
        get(&self.host, path, "close")
    }
}

/// A GET at any host.
pub fn get(host: &str, path: &str, connection: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: {connection}\r\n{FIELDS}\r\n")
        .into()
}

/// A connection. Dropping it closes it.
pub struct Visitor {
    stream: TcpStream,
    /// What has been read of the answer.
    buffer: Vec<u8>,
}

impl Visitor {
    /// Dials.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let connecting = timeout(PATIENCE, TcpStream::connect(address)).await;
        let stream = connecting.context("nobody accepts")?.context("dialling")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(1024),
        })
    }

    /// Sends a request and reads its answer, which must have this body.
    pub async fn ask(&mut self, request: &[u8], expected: &[u8]) -> anyhow::Result<()> {
        let asking = self.exchange(request, expected);
        timeout(PATIENCE, asking).await.context("no answer")?
    }

    async fn exchange(&mut self, request: &[u8], expected: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        let head = self.head().await?;
        head.must_be(expected.len() as u64)?;
        while self.buffer.len() < head.end + expected.len() {
            self.read_more().await?;
        }
        ensure!(self.buffer[head.end..] == *expected, "another body");
        Ok(())
    }

    /// Sends a request and reads its answer, which must have so many bytes of the content.
    pub async fn download(
        &mut self,
        request: &[u8],
        content: &Content,
        length: u64,
    ) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        let head = timeout(PATIENCE, self.head()).await;
        let head = head.context("no answer")??;
        head.must_be(length)?;
        let mut piece = self.buffer.split_off(head.end);
        piece.reserve(PIECE);
        let mut offset = 0;
        loop {
            ensure!(content.has(offset, &piece), "other bytes at {offset}");
            offset += piece.len() as u64;
            if offset >= length {
                ensure!(offset == length, "more than its length");
                return Ok(());
            }
            piece.clear();
            let read = timeout(PATIENCE, self.stream.read_buf(&mut piece)).await;
            ensure!(read.context("it stalls")?? > 0, "ends after {offset} bytes");
        }
    }

    /// Sends so many bytes of the content, and reads the answer, which must count them.
    pub async fn upload(
        &mut self,
        door: &Door,
        content: &Content,
        length: u64,
    ) -> anyhow::Result<()> {
        let head = format!(
            "POST /sink HTTP/1.1\r\nHost: {}\r\nContent-Type: application/octet-stream\r\n\
             Content-Length: {length}\r\n\r\n",
            door.host
        );
        self.stream.write_all(head.as_bytes()).await?;
        let mut offset = 0;
        while offset < length {
            let rest = (length - offset).min(PIECE as u64);
            let writing = self.stream.write(content.at(offset, rest));
            let written = timeout(PATIENCE, writing).await.context("it stalls")??;
            offset += written as u64;
        }
        self.ask(b"", format!("{length} bytes, intact").as_bytes())
            .await
    }

    /// Sends a request and reads a little of its answer.
    pub async fn stall(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        let head = timeout(PATIENCE, self.head()).await;
        let head = head.context("no answer")??;
        ensure!(head.status == 200, "status {}", head.status);
        Ok(())
    }

    /// Whether the other end has not closed it.
    pub fn is_open(&self) -> bool {
        let mut byte = [0];
        match self.stream.try_read(&mut byte) {
            Ok(_) => false,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }

    async fn head(&mut self) -> anyhow::Result<Head> {
        self.buffer.clear();
        loop {
            self.read_more().await?;
            if let Some(head) = Head::read(&self.buffer)? {
                return Ok(head);
            }
        }
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(read > 0, "closed before the answer's end");
        Ok(())
    }
}

/// What an answer's head says.
struct Head {
    /// Where its body starts.
    end: usize,
    status: u16,
    length: u64,
}

impl Head {
    fn read(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(end) = response.parse(bytes)? else {
            return Ok(None);
        };
        let status = response.code.unwrap_or(0);
        let length = response
            .headers
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let Some(length) = length else {
            bail!("status {status} without a length");
        };
        let length = std::str::from_utf8(length.value)?.trim().parse()?;
        Ok(Some(Self {
            end,
            status,
            length,
        }))
    }

    fn must_be(&self, length: u64) -> anyhow::Result<()> {
        ensure!(self.status == 200, "status {}", self.status);
        let its = self.length;
        ensure!(its == length, "a body of {its} bytes in place of {length}");
        Ok(())
    }
}

/// How long an answer may take, or a body pause.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is read or written of a large body at once.
const PIECE: usize = 256 << 10;

/// What a browser sends besides.
const FIELDS: &str = "Cache-Control: max-age=0\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.7,de;q=0.3\r\n\
    Referer: https://www.example.com/projects/overview?tab=recent&sort=name\r\n\
    Cookie: session=0c6e1f0b52a94d1f9c33; theme=dark; seen=1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n";
