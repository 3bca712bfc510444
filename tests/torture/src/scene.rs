//! A relay and a client as the real programs, before a local server, with a ledger over all of them.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::PATIENCE;
use crate::ledger::{Ending, Ledger};
use crate::origin::Origin;
use crate::program::Program;
use crate::visitor::{Ask, Door};

/// The token that a scene's relay wants.
pub const TOKEN: &str = "torture";

/// The dialects in which a host is served.
pub const DIALECTS: [&str; 2] = ["ggrok.v2", "ggrok"];

/// A relay program whose address stays the same when it is started again.
pub struct RelayProgram {
    pub program: Program,
    pub address: SocketAddr,
    log: PathBuf,
    flags: Vec<String>,
}

impl RelayProgram {
    /// Starts one on a free port, with these flags besides.
    pub async fn start(directory: &TempDir, flags: &[&str]) -> Self {
        let log = format!("relay-{}.log", fastrand::u64(..));
        Self::logging_to(directory.path().join(log), flags).await
    }

    /// Starts one that logs into a file.
    pub async fn logging_to(log: PathBuf, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let address = free_address();
        let program = Self::command(address, &flags, &log);
        let mut relay = Self {
            program,
            address,
            log,
            flags,
        };
        relay.await_health().await;
        relay
    }

    /// Starts it again at its address.
    pub async fn again(&mut self) {
        self.program = Self::command(self.address, &self.flags, &self.log);
        self.await_health().await;
    }

    fn command(address: SocketAddr, flags: &[String], log: &PathBuf) -> Program {
        let mut command = Program::command("ggrok-server");
        let port = address.port().to_string();
        command.args(["--bind", "127.0.0.1", "--port", &port]);
        if !flags.iter().any(|flag| flag == "--log") {
            command.args(["--log", "debug"]);
        }
        command.args(["--token", TOKEN]);
        command.args(flags).stderr(appended(log));
        Program::start(&mut command)
    }

    async fn await_health(&mut self) {
        let started = Instant::now();
        while self.tunnels().await.is_none() {
            assert!(started.elapsed() < PATIENCE, "the relay does not start");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// How many tunnels it says it has; nothing where it does not answer.
    pub async fn tunnels(&self) -> Option<usize> {
        let request = format!(
            "GET /_ggrok/health HTTP/1.1\r\nHost: x\r\nX-Ggrok-Token: {TOKEN}\r\nConnection: close\r\n\r\n"
        );
        let got = exchange(self.address, request.as_bytes()).await?;
        let text = String::from_utf8(got).ok()?;
        let behind = text.split("\"tunnels\":").nth(1)?;
        let digits = behind
            .split(|letter: char| !letter.is_ascii_digit())
            .next()?;
        digits.parse().ok()
    }

    /// Waits until it has so many tunnels, and returns how long that took.
    pub async fn await_tunnels(&self, expected: usize) -> Duration {
        let started = Instant::now();
        loop {
            let tunnels = self.tunnels().await;
            if tunnels == Some(expected) {
                return started.elapsed();
            }
            let waited = started.elapsed();
            assert!(waited < PATIENCE, "{tunnels:?} tunnels, and not {expected}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        read(&self.log)
    }
}

/// A client program.
pub struct ClientProgram {
    pub program: Program,
    log: PathBuf,
    command: Box<dyn Fn() -> Command + Send + Sync>,
}

impl ClientProgram {
    /// Starts one and waits until the relay has let it in.
    pub async fn start(
        directory: &TempDir,
        relay: SocketAddr,
        host: &str,
        local: SocketAddr,
        dialect: &str,
    ) -> Self {
        let log = directory
            .path()
            .join(format!("client-{}.log", fastrand::u64(..)));
        let (host, dialect) = (host.to_owned(), dialect.to_owned());
        let file = log.clone();
        let command = Box::new(move || {
            let mut command = Program::command("ggrok-client");
            let (relay, local) = (format!("ws://{relay}"), format!("http://{local}"));
            command.args(["--server", &relay, "--host", &host, "--token", TOKEN]);
            command.args([
                "--local",
                &local,
                "--dialect",
                &dialect,
                "--log",
                "debug",
                "--json",
            ]);
            command.stderr(appended(&file));
            command
        });
        let program = Program::start(&mut command());
        let mut client = Self {
            program,
            log,
            command,
        };
        client.await_ready().await;
        client
    }

    /// Starts it again, and waits until the relay has let it in.
    pub async fn again(&mut self) {
        self.program = Program::start(&mut (self.command)());
        self.await_ready().await;
    }

    pub async fn await_ready(&mut self) {
        self.program.line_with("\"ready\"").await;
    }

    /// What it logged.
    pub fn log(&self) -> String {
        read(&self.log)
    }
}

/// All of it.
pub struct Scene {
    /// Where the logs are.
    pub directory: TempDir,
    pub ledger: Ledger,
    pub origin: Origin,
    pub relay: RelayProgram,
    pub client: ClientProgram,
    pub door: Door,
}

/// The host that a scene's client serves.
pub const HOST: &str = "app.example";

impl Scene {
    /// Starts a relay with these flags, and a client that speaks this dialect with it.
    pub async fn start(dialect: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::default();
        let origin = Origin::start(ledger.clone()).await;
        let relay = RelayProgram::start(&directory, flags).await;
        let (address, local) = (relay.address, origin.address);
        let client = ClientProgram::start(&directory, address, HOST, local, dialect).await;
        let host = HOST.to_owned();
        let door = Door { address, host };
        Self {
            directory,
            ledger,
            origin,
            relay,
            client,
            door,
        }
    }

    /// Asks until an answer is whole, and returns how long that took.
    pub async fn await_answer(&self) -> Duration {
        let started = Instant::now();
        while self.door.ask(&self.ledger, Ask::get(10)).await != Ending::Whole {
            assert!(
                started.elapsed() < PATIENCE,
                "the client does not come back"
            );
            sleep(Duration::from_millis(10)).await;
        }
        started.elapsed()
    }

    /// What must not be and was, by the ledger and by what the logs add to it.
    pub fn violations(&self) -> usize {
        self.ledger.read_relay_log(&self.relay.log());
        self.ledger.read_client_log(&self.client.log());
        self.ledger.violations().len()
    }
}

/// Below the ports that the system gives to those who connect: one that connects to a port where
/// nobody listens may get that very port for its own end, and so itself for a peer.
fn free_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], fastrand::u16(20_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn appended(file: &PathBuf) -> File {
    File::options()
        .create(true)
        .append(true)
        .open(file)
        .unwrap()
}

fn read(file: &PathBuf) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

/// Sends bytes and reads to the end of the connection; nothing where there is none.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> Option<Vec<u8>> {
    let exchanging = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request).await.ok()?;
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.ok();
        Some(got)
    };
    timeout(Duration::from_secs(20), exchanging).await.ok()?
}
