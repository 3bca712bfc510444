//! `share`: which link is wanted, and of which relay.

use std::time::Duration;

use anyhow::bail;
use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use ggrok_client::{HostName, MirrorName, NewShare, PathPrefix, Shared, Shares};

use super::relay::{RelayArgs, relay_address};
use crate::settings::Settings;

/// What is done with links.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ShareArgs {
    #[command(subcommand)]
    pub(crate) action: Option<ShareAction>,
    #[command(flatten)]
    pub(crate) new: NewShareArgs,
}

/// What else can be done with links.
#[derive(Subcommand)]
pub(crate) enum ShareAction {
    /// List the links that have not ended
    List(OwnerArgs),
    /// End a link, and what visitors do by it at the moment
    Revoke {
        /// Its id, as `share list` shows it
        id: String,
        #[command(flatten)]
        owner: OwnerArgs,
    },
}

/// A relay, and whose links they are.
#[derive(Args)]
pub(crate) struct OwnerArgs {
    /// The relay, where it is not the saved one
    #[arg(
        long,
        short,
        env = "GGROK_SERVER",
        value_name = "HOST",
        help_heading = "Relay"
    )]
    server: Option<String>,
    /// Print JSON
    #[arg(long, env = "GGROK_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    #[command(flatten)]
    relay: RelayArgs,
}

/// What a new link opens.
#[derive(Args)]
pub(crate) struct NewShareArgs {
    /// The name whose visitors it lets in, in place of those of the relay's host
    #[arg(long, env = "GGROK_NAME")]
    name: Option<MirrorName>,
    /// Another host that points at the relay, whose visitors it lets in
    #[arg(long, env = "GGROK_HOST", conflicts_with = "name")]
    host: Option<HostName>,
    /// How long it lets visitors in, like 2h; at most 30days
    #[arg(long = "for", value_parser = humantime::parse_duration, default_value = "1day", value_name = "TIME")]
    time: Duration,
    /// The path that it opens, and what is below it [default: everything]
    #[arg(long)]
    path: Option<String>,
    /// How many visitors it lets in, 100 at most [default: any number]
    #[arg(long, value_name = "COUNT")]
    uses: Option<usize>,
    #[command(flatten)]
    pub(crate) owner: OwnerArgs,
}

impl OwnerArgs {
    pub(crate) fn shares(&self) -> anyhow::Result<Shares> {
        let saved = Settings::load()?;
        let is_saved_relay = self.server.is_none() || self.server == saved.server;
        let Some(server) = self.server.clone().or(saved.server) else {
            bail!("which relay? Give it with --server HOST, or save it: ggrok-client login HOST");
        };
        // The saved token is the saved relay's, and goes to no other.
        let saved_token = saved.token.filter(|_| is_saved_relay);
        let token = self.relay.token(saved_token.as_deref())?;
        let authorities = self.relay.authorities()?;
        let relay = relay_address(&server)?;
        if token.is_some() && !relay.is_secure() && !relay.is_loopback() {
            eprintln!(
                "ggrok-client: the token goes to {relay} in the clear, for everybody on the way to read"
            );
        }
        Ok(Shares::new(relay, token, authorities)?)
    }
}

impl NewShareArgs {
    pub(crate) fn read(&self) -> anyhow::Result<NewShare> {
        if self.time.as_secs() == 0 {
            bail!("--for is at least 1s: a shorter link would let nobody in");
        }
        let path = self.path.as_deref().filter(|path| *path != "/");
        let of = match (&self.name, &self.host) {
            (Some(name), _) => Shared::Name(name.clone()),
            (None, Some(host)) => Shared::Host(host.clone()),
            (None, None) => Shared::OwnHost,
        };
        Ok(NewShare {
            of,
            path: path.map(str::parse::<PathPrefix>).transpose()?,
            seconds: self.time.as_secs(),
            uses: self.uses,
        })
    }
}
