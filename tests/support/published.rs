//! Our two programs before local servers of other people's.

use std::net::SocketAddr;

use super::{Program, RelayProgram};

/// A relay program, and a client program for each of its hosts.
pub struct Published {
    pub relay: RelayProgram,
    clients: Vec<Program>,
}

impl Published {
    /// Starts a relay without clients.
    pub async fn nothing() -> Self {
        let relay = RelayProgram::start(|command| {
            command.arg("--open");
        })
        .await;
        let clients = Vec::new();
        Self { relay, clients }
    }

    /// Shows a local server at the relay's own host.
    pub async fn show(&mut self, local: SocketAddr) {
        self.client(local, &[]).await;
    }

    /// Shows a local server at a host.
    pub async fn show_at(&mut self, host: &str, local: SocketAddr) {
        self.client(local, &["--host", host]).await;
    }

    async fn client(&mut self, local: SocketAddr, args: &[&str]) {
        let mut command = Program::command("ggrok-client");
        let server = self.relay.address.to_string();
        command.args(["--json", "--server", &server, "--local", &local.to_string()]);
        let mut client = Program::start(command.args(args));
        client.line_with(r#""event":"ready""#).await;
        self.clients.push(client);
    }
}
