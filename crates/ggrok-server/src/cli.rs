//! The relay's command line and environment.

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ggrok_server::{Access, Config, Host, Pattern, Pseudonym, Tokens};
use tracing::level_filters::LevelFilter;

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

    /// Token that clients must give to register; it allows everything
    #[arg(
        long,
        env = "GGROK_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<Secret>,

    /// TOML file with the tokens of several owners; read again when it changes. Make entries with
    /// `ggrok-server token new`
    #[arg(long, env = "GGROK_TOKENS_FILE", value_name = "FILE")]
    tokens_file: Option<PathBuf>,

    /// Domain in whose hosts named clients are served: blog at blog.DOMAIN
    #[arg(long, env = "GGROK_DOMAIN")]
    domain: Option<Host>,

    /// Let anybody register, as the original ggrok did, and reach, list and close every mirror
    #[arg(long, env = "GGROK_OPEN", value_parser = FalseyValueParser::new())]
    open: bool,

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

    /// How long a connection may be silent before a whole request head and between requests
    /// [default: 15s; 95s with trusted hops]
    #[arg(long, env = "GGROK_IDLE_TIMEOUT", value_parser = humantime::parse_duration, value_name = "TIME")]
    idle_timeout: Option<Duration>,

    /// How long a response may take to start [default: 5m; 28s where DYNO is set, and for clients
    /// that speak ggrok's own dialect]
    #[arg(long, env = "GGROK_CALL_TIMEOUT", value_parser = humantime::parse_duration, value_name = "TIME")]
    call_timeout: Option<Duration>,

    /// How long a streamed body may pause
    #[arg(long, env = "GGROK_STREAM_IDLE", value_parser = humantime::parse_duration, default_value = "5m", value_name = "TIME")]
    stream_idle: Duration,

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

    /// Requests of one client that may be under way at a time
    #[arg(
        long,
        env = "GGROK_CALLS",
        default_value_t = 1000,
        value_name = "COUNT"
    )]
    calls: usize,

    /// Bytes of bodies that are held for one client
    #[arg(
        long,
        env = "GGROK_HELD_LIMIT",
        default_value = "64MiB",
        value_name = "SIZE"
    )]
    held_limit: ByteSize,

    /// Largest window of one streamed body: what may be on its way or unread
    #[arg(
        long,
        env = "GGROK_WINDOW_LIMIT",
        default_value = "1MiB",
        value_name = "SIZE"
    )]
    window_limit: ByteSize,

    /// Largest message of a client that streams
    #[arg(
        long,
        env = "GGROK_FRAME_LIMIT",
        default_value = "1MiB",
        value_name = "SIZE"
    )]
    frame_limit: ByteSize,

    /// Largest head of a request
    #[arg(
        long,
        env = "GGROK_HEAD_LIMIT",
        default_value = "64KiB",
        value_name = "SIZE"
    )]
    head_limit: ByteSize,

    /// Connections of visitors and clients at a time; further ones are answered with 503
    #[arg(
        long,
        env = "GGROK_CONNECTIONS",
        default_value_t = 4096,
        value_name = "COUNT"
    )]
    connections: usize,

    /// Requests under way at a time, of all clients together; further ones are answered with 503
    #[arg(
        long,
        env = "GGROK_TOTAL_CALLS",
        default_value_t = 4096,
        value_name = "COUNT"
    )]
    total_calls: usize,

    /// Connections of one address, and requests that it has under way, at a time; behind trusted hops
    /// requests alone
    #[arg(
        long,
        env = "GGROK_PER_ADDRESS",
        default_value_t = 1024,
        value_name = "COUNT"
    )]
    per_address: usize,

    /// How long a visitor may take for each KiB of a body whose length it told
    #[arg(long, env = "GGROK_BODY_PACE", value_parser = humantime::parse_duration, default_value = "1m", value_name = "TIME")]
    body_pace: Duration,

    /// Clients at a time
    #[arg(
        long,
        env = "GGROK_TUNNELS",
        default_value_t = 10_000,
        value_name = "COUNT"
    )]
    tunnels: usize,

    /// Clients of one owner at a time [default: 1000 with --tokens-file, else as many as --tunnels]
    #[arg(long, env = "GGROK_OWNER_TUNNELS", value_name = "COUNT")]
    owner_tunnels: Option<usize>,

    /// Wrong tokens that an address may give in a minute; then it has to wait
    #[arg(
        long,
        env = "GGROK_WRONG_TOKENS",
        default_value_t = 10,
        value_name = "COUNT"
    )]
    wrong_tokens: u32,

    /// Largest body of a request or response, for clients that speak ggrok's own dialect
    #[arg(
        long,
        env = "GGROK_BODY_LIMIT",
        default_value = "10MiB",
        value_name = "SIZE"
    )]
    body_limit: ByteSize,

    /// How long after the start requests may wait for a client that comes back
    #[arg(long, env = "GGROK_SETTLING_TIME", value_parser = humantime::parse_duration, default_value = "5s", value_name = "TIME")]
    settling_time: Duration,

    /// How long calls in flight may take to finish when the relay stops
    #[arg(long, env = "GGROK_GRACE_PERIOD", value_parser = humantime::parse_duration, default_value = "25s", value_name = "TIME")]
    grace_period: Duration,

    /// Token for whoever reads the metrics at /_ggrok/metrics [default: none, and no such page]
    #[arg(
        long,
        env = "GGROK_METRICS_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    metrics_token: Option<Secret>,

    /// Address and port where metrics and readiness are served without a token, like 127.0.0.1:9100;
    /// visitors must not reach it
    #[arg(long, env = "GGROK_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<SocketAddr>,

    /// What is logged, to standard error: off, error, warn, info, debug or trace
    #[arg(
        long = "log",
        env = "GGROK_LOG",
        default_value = "info",
        value_name = "LEVEL"
    )]
    pub(crate) log_level: LevelFilter,

    /// How it is logged
    #[arg(
        long,
        env = "GGROK_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub(crate) log_format: LogFormat,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

/// A token, hidden wherever settings are shown.
#[derive(Clone)]
struct Secret(String);

impl From<&str> for Secret {
    fn from(token: &str) -> Self {
        Self(token.trim().to_owned())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
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
        let on_heroku = || env::var_os("DYNO").is_some();
        let trusted_hops = self.trusted_hops.unwrap_or_else(|| on_heroku().into());
        let mut config = Config::new(access, trusted_hops);
        config.domain.clone_from(&self.domain);
        config.http2 = self.http2;
        config.pseudonym.clone_from(&self.pseudonym);
        config.idle_timeout = self.idle_timeout.unwrap_or(config.idle_timeout);
        config.grace_period = self.grace_period;
        config.settling_time = self.settling_time;
        if let Some(patience) = self.call_timeout {
            config.limits.call_timeout = patience;
            config.limits.answer_timeout = patience;
        } else if on_heroku() {
            // Its router gives up after 30 s, and tells the visitor nothing of use.
            config.limits.answer_timeout = config.limits.call_timeout;
        }
        config.limits.stream_idle = self.stream_idle;
        config.limits.calls = self.calls;
        config.limits.held = bytes("--held-limit", self.held_limit)?;
        config.limits.window = bytes("--window-limit", self.window_limit)?;
        config.limits.frame = bytes("--frame-limit", self.frame_limit)?;
        config.limits.body = bytes("--body-limit", self.body_limit)?;
        config.head_limit = bytes("--head-limit", self.head_limit)?;
        config.connections = self.connections;
        config.calls = self.total_calls;
        config.per_address = self.per_address;
        config.body_pace = self.body_pace;
        let metrics_token = self.metrics_token.as_ref().map(|token| token.0.as_str());
        config.metrics_access = metrics_token
            .filter(|token| !token.is_empty())
            .map(Access::token);
        config.wrong_tokens = self.wrong_tokens;
        config.tunnels = self.tunnels;
        let of_one = if self.tokens_file.is_some() {
            1000
        } else {
            self.tunnels
        };
        config.tunnels_of_one = self.owner_tunnels.unwrap_or(of_one);
        if self.frame_limit < ByteSize::kib(128) {
            bail!("--frame-limit is at least 128KiB: frames of data have 64KiB, and a head");
        }
        if config.idle_timeout.is_zero() {
            bail!("--idle-timeout of nothing would close every connection");
        }
        Ok(config)
    }

    /// The tokens that the relay knows, or none where it is open.
    pub(crate) fn tokens(&self) -> anyhow::Result<Option<Tokens>> {
        // A platform that sets an empty variable has set none.
        let token = self.token.as_ref().map(|token| token.0.as_str());
        let token = token.filter(|token| !token.is_empty());
        let file = self
            .tokens_file
            .clone()
            .filter(|path| !path.as_os_str().is_empty());
        match (token, file, self.open) {
            (token, Some(path), false) => {
                let shown = path.display().to_string();
                let tokens = Tokens::open(path, token);
                tokens
                    .with_context(|| format!("the file of tokens {shown}"))
                    .map(Some)
            }
            (Some(token), None, false) => Ok(Some(Tokens::one(token))),
            (None, None, true) => Ok(None),
            (None, None, false) => bail!(
                "who may register? Give a token that clients must have, with --token or \
                 GGROK_TOKEN, or the tokens of several owners, with --tokens-file, or let anybody \
                 in, with --open or GGROK_OPEN=true"
            ),
            (_, _, true) => bail!(
                "tokens and --open contradict each other: give --token (GGROK_TOKEN) or \
                 --tokens-file (GGROK_TOKENS_FILE), or --open (GGROK_OPEN)"
            ),
        }
    }
}

/// A size that is held in memory.
fn bytes(flag: &str, size: ByteSize) -> anyhow::Result<usize> {
    if size > ByteSize::gib(1) {
        bail!("{flag} is at most 1GiB: so much is held in memory");
    }
    Ok(usize::try_from(size.as_u64())?)
}
