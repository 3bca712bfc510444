//! The relay's command line and environment.

mod access;
mod limits;
mod operator;
mod timeouts;
mod warnings;

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use ggrok_server::{Access, Config, Host, Pattern, Pseudonym};

use self::access::AccessArgs;
use self::limits::LimitArgs;
pub(crate) use self::operator::{LogFormat, OperatorArgs};
use self::timeouts::TimeoutArgs;

/// The relay of ggrok: gives web apps on people's laptops a public address.
///
/// Every setting can be given by its flag or by its environment variable.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) relay: RelayArgs,
}

impl Cli {
    /// Reads the arguments and the environment, and returns what the operator should mend besides.
    pub(crate) fn read() -> (Self, Vec<String>) {
        let matches = Self::command().get_matches();
        let cli = Self::from_arg_matches(&matches);
        let cli = cli.unwrap_or_else(|error| error.format(&mut Self::command()).exit());
        let warnings = warnings::warnings(&cli.relay, &matches);
        (cli, warnings)
    }
}

/// What else the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tokens of the file that --tokens-file names
    Token {
        #[command(subcommand)]
        action: TokenAction,
    },
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Make a token, and print the entry to append to the file
    New(NewToken),
}

/// What a new token grants.
#[derive(Args, Debug)]
pub(crate) struct NewToken {
    /// Whose it is: any text, like ana
    #[arg(long)]
    pub(crate) owner: String,
    /// Names that its mirrors may have, like prometheus or ana-*; may be given several times
    #[arg(long = "name", default_value = "*", value_name = "PATTERN")]
    pub(crate) names: Vec<Pattern>,
    /// Hosts that it may serve, like app.example.com or *.ana.example.com; may be given several
    /// times [default: none]
    #[arg(long = "host", value_name = "PATTERN")]
    pub(crate) hosts: Vec<Pattern>,
    /// After how long it is no longer valid, like 90days [default: never]
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    pub(crate) expires_in: Option<Duration>,
}

/// A relay's settings.
#[derive(Args, Debug)]
pub(crate) struct RelayArgs {
    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,

    /// Address to listen on
    #[arg(
        long,
        env = "GGROK_BIND",
        default_value = "0.0.0.0",
        value_name = "ADDRESS"
    )]
    bind: IpAddr,

    /// Domain in whose hosts named clients are served: blog at blog.DOMAIN
    #[arg(long, env = "GGROK_DOMAIN")]
    domain: Option<Host>,

    /// Host by which clients reach the relay itself, like relay.example.com; no owner gets it. May be
    /// given several times, or with commas [default: learned from the hosts of valid requests]
    #[arg(
        long = "own-host",
        env = "GGROK_OWN_HOSTS",
        value_delimiter = ',',
        value_name = "HOST"
    )]
    own_hosts: Vec<Host>,

    /// How many right-most hops of X-Forwarded-For are your own proxies [default: 0; 1 where DYNO
    /// is set, as on Heroku]
    #[arg(long, env = "GGROK_TRUSTED_HOPS", value_name = "COUNT")]
    trusted_hops: Option<usize>,

    /// Take HTTP/2 on the same port too, in the clear and by prior knowledge, as from a proxy that
    /// speaks h2c; gRPC needs it
    #[arg(long, env = "GGROK_HTTP2", value_parser = FalseyValueParser::new())]
    http2: bool,

    /// Name that requests are signed with in their Via field; two relays in a row need different ones
    #[arg(
        long,
        env = "GGROK_PSEUDONYM",
        default_value = "ggrok",
        value_name = "NAME"
    )]
    pseudonym: Pseudonym,

    /// Threads that serve; more than one helps where calls need more than one core, and costs each of
    /// them a little
    #[arg(
        long,
        env = "GGROK_WORKERS",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=1024),
        value_name = "COUNT"
    )]
    workers: u16,

    #[command(flatten)]
    pub(crate) access: AccessArgs,

    #[command(flatten)]
    timeouts: TimeoutArgs,

    #[command(flatten)]
    limits: LimitArgs,

    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
}

impl RelayArgs {
    pub(crate) const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.port)
    }

    /// Threads that serve.
    pub(crate) const fn workers(&self) -> usize {
        self.workers as usize
    }

    pub(crate) fn config(&self, access: Access) -> anyhow::Result<Config> {
        let trusted_hops = self.trusted_hops.unwrap_or_else(|| is_on_heroku().into());
        let mut config = Config::new(access, trusted_hops);
        config.domain.clone_from(&self.domain);
        config.own_hosts.clone_from(&self.own_hosts);
        config.http2 = self.http2;
        config.pseudonym.clone_from(&self.pseudonym);
        config.wrong_tokens = self.access.wrong_tokens;
        config.metrics_access = self.operator.metrics_access();
        self.timeouts.apply(&mut config)?;
        self.limits.apply(&mut config, self.access.has_owners())?;
        Ok(config)
    }
}

/// Whether this is a dyno of Heroku's, behind its router.
fn is_on_heroku() -> bool {
    env::var_os("DYNO").is_some()
}
