//! The local server: where it is, and how it is spoken with.

use std::env;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::FalseyValueParser;
use ggrok_client::{Config, HostHeader, LocalAddress};

/// The local server.
#[derive(Args)]
#[command(next_help_heading = "Local server")]
pub(super) struct LocalArgs {
    /// Port or address of the local server, like 3000
    #[arg(value_name = "LOCAL", group = "which", help_heading = "Arguments")]
    target: Option<LocalAddress>,

    /// Port of the local server
    #[arg(long, short, group = "which", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// Address of the local server, like http://127.0.0.1:9090 [env: GGROK_LOCAL=]
    #[arg(long, group = "which", value_name = "ADDRESS")]
    local: Option<LocalAddress>,

    /// The host that the local server is told: the public one (preserve), its own address
    /// (rewrite), or the one that is given
    #[arg(
        long,
        env = "GGROK_HOST_HEADER",
        default_value = "preserve",
        value_name = "preserve|rewrite|HOST"
    )]
    host_header: HostHeader,

    /// Speak HTTP/2 with the local server, with prior knowledge and in the clear, as gRPC servers do
    #[arg(long, env = "GGROK_LOCAL_HTTP2", value_parser = FalseyValueParser::new())]
    local_http2: bool,

    /// How long the local server may take for a response, in the originals' dialects
    #[arg(long, env = "GGROK_LOCAL_TIMEOUT", value_parser = humantime::parse_duration, default_value = "25s", value_name = "TIME")]
    local_timeout: Duration,
}

impl LocalArgs {
    /// The address; where a remote registers its mirrors (`is_remote`) the question for it is another.
    pub(super) fn address(&self, is_remote: bool) -> anyhow::Result<LocalAddress> {
        let given = self.target.clone().or_else(|| self.local.clone());
        if let Some(address) = given.or_else(|| self.port.map(LocalAddress::port)) {
            return Ok(address);
        }
        match env::var("GGROK_LOCAL") {
            Ok(address) => address
                .parse()
                .with_context(|| format!("GGROK_LOCAL is {address:?}")),
            Err(_) if is_remote => bail!(
                "which local server? Give its address, like --local http://localhost:9090: requests \
                 go there alone, and never where a remote says"
            ),
            Err(_) => bail!("which local server? Give its port, like: ggrok-client 3000"),
        }
    }

    pub(super) fn apply(&self, config: &mut Config) -> anyhow::Result<()> {
        if self.local_timeout.is_zero() {
            bail!("--local-timeout of nothing would refuse every call; give a time, like 25s");
        }
        config.host_header = self.host_header.clone();
        config.local_http2 = self.local_http2;
        config.local_timeout = self.local_timeout;
        Ok(())
    }
}
