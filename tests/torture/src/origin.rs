//! The local server: answers each request with what its target asks for, and writes it into the ledger.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::content::content;
use crate::ledger::Ledger;

/// A local server in this process. Dropping it ends it.
pub struct Origin {
    pub address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    pub async fn start(ledger: Ledger) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(listener, ledger)).abort_handle();
        Self { address, task }
    }
}

async fn serve(listener: TcpListener, ledger: Ledger) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            Ok((stream, _)) = listener.accept() => {
                let ledger = ledger.clone();
                connections.spawn(async move { keep(stream, &ledger).await.ok() });
            }
        }
    }
}

/// Answers the requests of one connection until it ends.
async fn keep(stream: TcpStream, ledger: &Ledger) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let Some(request) = Request::read(&mut stream).await? else {
            return Ok(());
        };
        if request.id > 0 {
            ledger.arrived(request.id);
            let body = request.take_body(&mut stream).await?;
            if body != content(request.id, body.len()) {
                ledger.strange(format!("request {} has another's body", request.id));
            }
        }
        request.answer(&mut stream).await?;
    }
}

/// A request, by its target: `/ID/LENGTH/PAUSE`, or a stream without end.
struct Request {
    id: u64,
    download: usize,
    pause: Duration,
    upload: usize,
    websocket_key: Option<String>,
    is_stream: bool,
    is_bulk: bool,
}

impl Request {
    async fn read(stream: &mut BufReader<TcpStream>) -> anyhow::Result<Option<Self>> {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let target = line
            .split(' ')
            .nth(1)
            .context("no request line")?
            .to_owned();
        let (mut upload, mut websocket_key) = (0, None);
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => upload = value.trim().parse()?,
                "sec-websocket-key" => websocket_key = Some(value.trim().to_owned()),
                "transfer-encoding" => bail!("what is sent here has a length"),
                _ => {}
            }
        }
        let mut numbers = target
            .split('/')
            .skip(1)
            .map(|part| part.parse().unwrap_or(0));
        let mut number = || numbers.next().unwrap_or(0);
        let (id, download, pause) = (number(), number(), number());
        Ok(Some(Self {
            id,
            download: usize::try_from(download)?,
            pause: Duration::from_millis(pause),
            upload,
            websocket_key,
            is_stream: target == "/events",
            is_bulk: target == "/bulk",
        }))
    }

    async fn take_body(&self, stream: &mut BufReader<TcpStream>) -> anyhow::Result<Vec<u8>> {
        let mut body = vec![0; self.upload];
        stream.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn answer(&self, stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
        if self.is_stream {
            return events(stream).await;
        }
        if self.is_bulk {
            return bulk(stream).await;
        }
        if self.websocket_key.is_some() {
            return echo(stream).await;
        }
        let (id, length) = (self.id, self.download);
        let head =
            format!("HTTP/1.1 200 OK\r\nX-Answers: {id}\r\nContent-Length: {length}\r\n\r\n");
        let answer = [head.into_bytes(), content(id, length)].concat();
        if self.pause.is_zero() {
            stream.write_all(&answer).await?;
            return Ok(());
        }
        let (start, rest) = answer.split_at(answer.len() - length / 2);
        stream.write_all(start).await?;
        sleep(self.pause).await;
        stream.write_all(rest).await?;
        Ok(())
    }
}

/// An event every 100 ms, without end.
async fn events(stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(b"b\r\ndata: tick\n\r\n").await?;
        sleep(Duration::from_millis(100)).await;
    }
}

/// As many bytes as anybody takes.
async fn bulk(stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40);
    stream.write_all(head.as_bytes()).await?;
    let letters = content(0, 64 << 10);
    loop {
        stream.write_all(&letters).await?;
    }
}

/// An upgraded connection that says back what it hears.
async fn echo(stream: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
    let head =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..read]).await?;
    }
}

/// Whether this process is to be a local server, which can be frozen alone.
pub fn wanted() -> bool {
    std::env::var_os("GGROK_TORTURE_ORIGIN").is_some()
}

/// Is a local server, and says on standard output where.
pub fn play() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let origin = Origin::start(Ledger::default()).await;
        println!("listening on {}", origin.address);
        std::future::pending().await
    })
}
