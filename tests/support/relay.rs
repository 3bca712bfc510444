//! A relay, in this process or as the program that people run.

use std::net::SocketAddr;
use std::time::Duration;

use ggrok_server::{Access, Config, serve};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Program;

/// A relay on a free port of loopback. Dropping it ends it at once.
pub struct Relay {
    pub address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Starts an open relay with the default settings.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a relay whose settings are changed by a function.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), change).await
    }

    /// Starts a relay at an address.
    pub async fn at(address: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Config::new(Access::open(), 0);
        // Scenarios that have no client do not wait for one.
        config.settling_time = Duration::ZERO;
        // One that waits for what never ends is to be noticed.
        config.grace_period = Duration::from_secs(3600);
        change(&mut config);
        let (shutdown, stop) = oneshot::channel();
        let task = tokio::spawn(serve(listener, config, async { stop.await.unwrap() }));
        Self {
            address,
            shutdown: Some(shutdown),
            task,
        }
    }

    /// Asks the relay to stop. The future ends when it has.
    pub fn stop(&mut self) -> &mut JoinHandle<()> {
        if let Some(shutdown) = self.shutdown.take() {
            shutdown.send(()).unwrap();
        }
        &mut self.task
    }

    /// How many tunnels the relay says it has, where it is open or lets in `owners`.
    pub async fn tunnels(&self) -> u64 {
        self.tunnels_as("k-tests").await
    }

    /// How many tunnels the relay says it has, to an owner with this token.
    pub async fn tunnels_as(&self, token: &str) -> u64 {
        let answer = super::ask(self.address, "GET /_ggrok/health", token).await;
        let health: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        health["tunnels"].as_u64().unwrap()
    }
}

/// A relay program on a free port, whose log is read for its address.
pub struct RelayProgram {
    pub program: Program,
    pub address: SocketAddr,
    /// Lines of its log until it listened.
    pub said: Vec<String>,
}

impl RelayProgram {
    /// Starts it, with the flags and variables that a function adds.
    pub async fn start(change: impl FnOnce(&mut Command)) -> Self {
        Self::ready(Self::unready(change)).await
    }

    /// Starts it, and reads nothing of its log.
    pub fn unready(change: impl FnOnce(&mut Command)) -> Program {
        let mut command = Program::command("ggrok-server");
        command.args(["--port", "0", "--bind", "127.0.0.1", "--log-format", "json"]);
        change(&mut command);
        Program::start_with_stderr(&mut command)
    }

    /// Waits until it listens.
    pub async fn ready(mut program: Program) -> Self {
        let mut said = Vec::new();
        let line = loop {
            let line = program.line_with("").await;
            if line.contains("listening") {
                break line;
            }
            said.push(line);
        };
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = line["address"].as_str().unwrap().parse().unwrap();
        Self {
            program,
            address,
            said,
        }
    }
}
