//! The ports of a tunnel, chosen for one run.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};

use anyhow::Context;

use crate::peers::{Dials, Peer, Variables};

/// The ports of a tunnel.
pub struct Ports {
    pub public: u16,
    control: u16,
    dials: Dials,
    /// What the client dials where something stands between.
    pub dial: SocketAddr,
}

impl Ports {
    pub fn choose(peer: &Peer) -> anyhow::Result<Self> {
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
    pub fn dialled(&self) -> SocketAddr {
        let port = match self.dials {
            Dials::PublicPort => self.public,
            Dials::ControlPort => self.control,
        };
        ([127, 0, 0, 1], port).into()
    }

    /// Names them, and what the client dials: the server itself, or what stands between.
    pub fn name(&self, variables: &mut Variables, directly: bool) {
        let dial = if directly { self.dialled() } else { self.dial };
        variables.set("public_port", &self.public);
        variables.set("control_port", &self.control);
        variables.set("dial_host", &dial.ip());
        variables.set("dial_port", &dial.port());
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
