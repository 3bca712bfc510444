//! `share`: which link is wanted, and of which relay.

use std::time::Duration;

use anyhow::bail;
use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use ggrok_client::{HostName, MirrorName, NewShare, PathPrefix, Shared, Shares};

use super::registration::{name_or_host, or};
use super::relay::{RelayArgs, relay, token_warning};
use super::variable;
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
    /// The relay, where it is not the saved one [env: GGROK_SERVER=]
    // Not by clap, which would take an empty variable for a relay.
    #[arg(long, short, value_name = "HOST", help_heading = "Relay")]
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
    /// The name whose visitors it lets in, in place of those of the relay's host [env: GGROK_NAME=]
    #[arg(long)]
    name: Option<MirrorName>,
    /// Another host that points at the relay, whose visitors it lets in [env: GGROK_HOST=]
    #[arg(long, conflicts_with = "name")]
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
        let server = or(self.server.clone(), "GGROK_SERVER", variable)?;
        let relay = relay(server.as_deref(), &saved)?;
        let token = self.relay.token(&relay, &saved)?;
        let authorities = self.relay.authorities()?;
        if let Some(warning) = token_warning(&relay, token.as_ref()) {
            eprintln!("ggrok-client: {warning}");
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
        let of = match name_or_host(self.name.clone(), self.host.clone(), variable)? {
            (Some(name), _) => Shared::Name(name),
            (None, Some(host)) => Shared::Host(host),
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
