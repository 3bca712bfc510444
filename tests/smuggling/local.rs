//! A local server that reads by the letter, says which target it was asked for, and keeps all it saw.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::strict::{self, Request};

/// What a local server saw.
#[derive(Default)]
pub struct Log {
    /// The requests that were whole, of all connections.
    pub requests: Vec<Request>,
    /// What could not be read, and why.
    pub nonsense: Vec<String>,
}

/// A request that arrived: its method, target and body.
pub type Arrived = (String, String, String);

impl Log {
    /// What arrived of the attack with this number, in order.
    pub fn of(&self, nonce: &str) -> Vec<Arrived> {
        let of_nonce = self
            .requests
            .iter()
            .filter(|request| request.target.contains(nonce));
        let arrived = |request: &Request| {
            let body = strict::latin(&request.body);
            (request.method.clone(), request.target.clone(), body)
        };
        of_nonce.map(arrived).collect()
    }
}

/// A local server. It stops when it is dropped.
pub struct Local {
    pub address: SocketAddr,
    log: Arc<Mutex<Log>>,
    task: AbortHandle,
}

impl Drop for Local {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Local {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log: Arc<Mutex<Log>> = Arc::default();
        let kept = Arc::clone(&log);
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let log = Arc::clone(&kept);
                open.spawn(async move {
                    if let Err(why) = converse(stream, &log).await {
                        log.lock().unwrap().nonsense.push(why);
                    }
                });
            }
        });
        Self {
            address,
            log,
            task: task.abort_handle(),
        }
    }

    /// The log, for whoever outlives this.
    pub fn shared(&self) -> Arc<Mutex<Log>> {
        Arc::clone(&self.log)
    }

    /// Answers a request by its target.
    pub async fn answer(stream: &mut TcpStream, request: &Request) {
        let length = request.target.len();
        let body = match &*request.method {
            "HEAD" => "",
            _ => &request.target,
        };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
        // The client may have left.
        stream.write_all(answer.as_bytes()).await.ok();
    }

    pub fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }
}

/// Answers the requests of a connection, each by its target.
async fn converse(mut stream: TcpStream, log: &Mutex<Log>) -> Result<(), String> {
    let mut buffer = Vec::new();
    let mut is_answered = false;
    loop {
        // As servers do whose upgrades are a matter of the head, it refuses one without its body.
        if let Some((head, _)) = strict::request_head(&buffer)?
            && head.is_upgrade()
            && !is_answered
        {
            is_answered = true;
            Local::answer(&mut stream, &head).await;
        }
        if let Some((request, length)) = strict::request(&buffer)? {
            buffer.drain(..length);
            if !std::mem::take(&mut is_answered) {
                Local::answer(&mut stream, &request).await;
            }
            log.lock().unwrap().requests.push(request);
        } else if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            // A request that was cut is none.
            return Ok(());
        }
    }
}
