//! A tunnel that runs: local server, server, client, and what stands between them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::clients;
use crate::origin::HELLO;
use crate::peers::{Peer, Places, command};
use crate::ports::Ports;
use crate::process::Process;
use crate::program::{self, Program};
use crate::visitor::{Door, Visitor};

/// What stands between client and server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    Nothing,
    /// A link with this delay, one way.
    Link(Duration),
    /// A forwarder in the clear.
    Forwarder,
    /// A forwarder that ends TLS.
    Tls,
}

/// How a tunnel is started.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    pub peer: &'a Peer,
    pub places: &'a Places,
    pub between: Between,
    /// Flags besides those of its entry.
    pub flags: Vec<String>,
    /// So many tunnels at one relay of ours, in place of the client's program.
    pub tunnels: Option<usize>,
}

/// A tunnel that runs. Dropping it ends its processes.
pub struct Tunnel {
    // In the order in which they end.
    client: Program,
    between: Option<Program>,
    server: Program,
    origin: Program,
    /// Where their files are; it goes after them.
    _work: TempDir,
    pub door: Door,
}

/// The processes of a tunnel, by whose account they are on.
#[derive(Clone, Debug)]
pub struct Processes {
    pub server: Vec<Process>,
    pub client: Vec<Process>,
    /// The benchmark's own.
    pub others: Vec<Process>,
}

impl Tunnel {
    /// Starts one, and waits until a request comes through.
    ///
    /// # Errors
    /// Where a part of it is not installed, or does not do its part.
    pub async fn start(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let peer = setup.peer;
        let work = tempfile::tempdir()?;
        let mut origin = start_part(work.path(), "origin", &["origin"])?;
        let local: SocketAddr = origin.says("listening on ").await?.trim().parse()?;
        let ports = Ports::choose(peer)?;
        let mut variables = setup.places.variables();
        ports.name(&mut variables, setup.between == Between::Nothing);
        let secure = setup.between == Between::Tls;
        variables.set("dial_scheme", &if secure { "wss" } else { "ws" });
        variables.set("work", &work.path().display());
        variables.set("origin_port", &local.port());
        for (file, text) in &peer.files {
            std::fs::write(work.path().join(file), variables.fill(text))?;
        }
        let start = |name, argv: &[String], env| {
            let mut command = command(argv, env, &variables, work.path())?;
            command.args(&setup.flags);
            Program::start(name, &mut command, work.path())
        };
        let mut server = start("server", &peer.server, &peer.server_env)?;
        listens(&mut server, ports.dialled()).await?;
        let between = put_between(&ports, setup.between, work.path()).await?;
        let mut client_argv = peer.client.clone();
        if setup.between == Between::Tls {
            client_argv.extend(["--ca-cert".to_owned(), "{work}/ca.pem".to_owned()]);
        }
        let mut client = match setup.tunnels {
            None => start("client", &client_argv, &peer.client_env)?,
            Some(count) => start_clients(work.path(), ports.dialled(), local, count)?,
        };
        let mut host = variables.fill(&peer.host);
        if let Some(count) = setup.tunnels {
            client.says(&format!("{count} tunnels are ready")).await?;
            host = clients::host(0);
        }
        let door = Door {
            address: ([127, 0, 0, 1], ports.public).into(),
            host,
        };
        let mut tunnel = Self {
            client,
            between,
            server,
            origin,
            _work: work,
            door,
        };
        tunnel.await_answer().await?;
        if let Some(between) = &mut tunnel.between
            && matches!(setup.between, Between::Link(_))
        {
            let through = timeout(SOON, between.says("dialled by ")).await;
            ensure!(
                matches!(through, Ok(Ok(_))),
                "its client does not use the link"
            );
        }
        Ok(tunnel)
    }

    async fn await_answer(&mut self) -> anyhow::Result<()> {
        let request = self.door.get_and_close("/hello");
        let address = self.door.address;
        let mut last = String::from("no answer");
        let asking = async {
            loop {
                let asked = async {
                    let mut visitor = Visitor::connect(address).await?;
                    visitor.ask(&request, HELLO).await
                };
                match asked.await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = format!("{error:#}"),
                }
                self.must_live()?;
                sleep(Duration::from_millis(20)).await;
            }
        };
        match timeout(READY, asking).await {
            Ok(ready) => ready,
            Err(_) => bail!("not ready in {} s: {last}", READY.as_secs()),
        }
    }

    /// Tells which of its processes has ended, where one has.
    ///
    /// # Errors
    /// That.
    pub fn must_live(&mut self) -> anyhow::Result<()> {
        self.server.must_live()?;
        self.client.must_live()
    }

    /// Its processes of now.
    pub fn processes(&mut self) -> Processes {
        let mut others = vec![Process::own()];
        others.extend(self.origin.family());
        others.extend(self.between.iter_mut().flat_map(Program::family));
        Processes {
            server: self.server.family(),
            client: self.client.family(),
            others,
        }
    }
}

/// Starts this program as one of its parts.
fn start_part(work: &Path, name: &'static str, arguments: &[&str]) -> anyhow::Result<Program> {
    let itself = std::env::current_exe()?;
    let mut command = program::command(itself.to_str().context("this program's path")?);
    command.args(arguments).stdin(Stdio::piped());
    Program::start(name, &mut command, work)
}

fn start_clients(
    work: &Path,
    relay: SocketAddr,
    local: SocketAddr,
    count: usize,
) -> anyhow::Result<Program> {
    let (relay, local, count) = (relay.to_string(), local.to_string(), count.to_string());
    start_part(work, "clients", &["clients", &relay, &local, &count])
}

/// Starts what stands between client and server.
async fn put_between(
    ports: &Ports,
    between: Between,
    work: &Path,
) -> anyhow::Result<Option<Program>> {
    let (listen, to) = (ports.dial.to_string(), ports.dialled().to_string());
    let certificate = work.join("ca.pem").display().to_string();
    let mut program = match between {
        Between::Nothing => return Ok(None),
        Between::Link(one_way) => {
            let one_way = humantime::format_duration(one_way).to_string();
            start_part(work, "link", &["link", &listen, &to, &one_way])?
        }
        Between::Forwarder => start_part(work, "forwarder", &["forwarder", &listen, &to])?,
        Between::Tls => start_part(
            work,
            "forwarder",
            &["forwarder", &listen, &to, &certificate],
        )?,
    };
    program.says("listening on ").await?;
    Ok(Some(program))
}

async fn listens(program: &mut Program, address: SocketAddr) -> anyhow::Result<()> {
    let dialling = async {
        while TcpStream::connect(address).await.is_err() {
            program.must_live()?;
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    let dialled = timeout(READY, dialling).await;
    dialled.with_context(|| format!("the server does not listen on {address}"))?
}

/// How long a tunnel may take to serve.
const READY: Duration = Duration::from_secs(20);

const SOON: Duration = Duration::from_secs(1);
