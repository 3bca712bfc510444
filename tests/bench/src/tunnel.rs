//! A tunnel that runs: local server, server, client, and what stands between them.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::clients;
use crate::origin::HELLO;
use crate::peers::{Dials, OURS, Peer, Places, Variables, command};
use crate::process::{self, Process, Program};
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
        ports.name(&mut variables, setup.between);
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
        let between = ports.put_between(setup.between, work.path()).await?;
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
        for (name, program) in [("server", &mut self.server), ("client", &mut self.client)] {
            ensure!(
                !program.ended(),
                "the {name} ended: {}",
                program.last_words()
            );
        }
        Ok(())
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
    let mut command = process::command(itself.to_str().context("this program's path")?);
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

async fn listens(program: &mut Program, address: SocketAddr) -> anyhow::Result<()> {
    let dialling = async {
        while TcpStream::connect(address).await.is_err() {
            ensure!(
                !program.ended(),
                "the server ended: {}",
                program.last_words()
            );
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    };
    let dialled = timeout(READY, dialling).await;
    dialled.with_context(|| format!("the server does not listen on {address}"))?
}

/// The ports of a tunnel.
struct Ports {
    public: u16,
    control: u16,
    dials: Dials,
    /// What the client dials where something stands between.
    dial: SocketAddr,
}

impl Ports {
    fn choose(peer: &Peer) -> anyhow::Result<Self> {
        let mut taken = HashSet::new();
        let mut choose = |name: &str| match peer.pinned.get(name) {
            Some(&port) => {
                let free = TcpListener::bind(("127.0.0.1", port));
                free.with_context(|| format!("port {port}, which it needs, is taken"))?;
                anyhow::Ok(port)
            }
            None => Ok(free_port(&mut taken)),
        };
        let (public, control) = (choose("public_port")?, choose("control_port")?);
        let own = match peer.dials {
            Dials::PublicPort => public,
            Dials::ControlPort => control,
        };
        // Where the client cannot be told another port it can be told another address.
        let dial = match peer.pinned.contains_key(peer.dials.variable()) {
            true => ([127, 0, 0, 2], own).into(),
            false => ([127, 0, 0, 1], free_port(&mut taken)).into(),
        };
        Ok(Self {
            public,
            control,
            dials: peer.dials,
            dial,
        })
    }

    /// The server's own address for its client.
    fn dialled(&self) -> SocketAddr {
        let port = match self.dials {
            Dials::PublicPort => self.public,
            Dials::ControlPort => self.control,
        };
        ([127, 0, 0, 1], port).into()
    }

    fn name(&self, variables: &mut Variables, between: Between) {
        let dial = match between {
            Between::Nothing => self.dialled(),
            Between::Link(_) | Between::Forwarder | Between::Tls => self.dial,
        };
        variables.set("public_port", &self.public);
        variables.set("control_port", &self.control);
        variables.set("dial_host", &dial.ip());
        variables.set("dial_port", &dial.port());
        let secure = between == Between::Tls;
        variables.set("dial_scheme", &if secure { "wss" } else { "ws" });
    }

    async fn put_between(&self, between: Between, work: &Path) -> anyhow::Result<Option<Program>> {
        let (listen, to) = (self.dial.to_string(), self.dialled().to_string());
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
}

impl Peer {
    /// Whether it is ours.
    pub fn is_ours(&self) -> bool {
        self.name == OURS
    }
}

/// Below the ports that the system gives to those who connect, of which a benchmark uses many.
fn free_port(taken: &mut HashSet<u16>) -> u16 {
    loop {
        let port = fastrand::u16(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && taken.insert(port) {
            return port;
        }
    }
}

/// How long a tunnel may take to serve.
const READY: Duration = Duration::from_secs(20);

const SOON: Duration = Duration::from_secs(1);
