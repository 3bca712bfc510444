//! The client's command line, environment and saved settings, down to a [`Config`].

mod registration;
mod rules;
mod share;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ggrok_client::{Claim, Config, Dialect, HostHeader, LocalAddress, RelayAddress, Token};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tracing::level_filters::LevelFilter;

use self::registration::{Registration, RegistrationArgs};
use self::rules::RulesArgs;
pub(crate) use self::share::{NewShareArgs, OwnerArgs, ShareAction, ShareArgs};
use crate::settings::Settings;

/// Shows a web app on this machine to the world, at the address of a ggrok relay.
///
/// Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage, 3 no ggrok relay at the address,
/// 4 refused by the relay, or the token no longer valid, 5 certificate or TLS refused, 6 replaced by
/// another client, or closed by its owner at the relay.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) tunnel: TunnelArgs,
}

/// What else the client can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Save a relay and its token, so that `ggrok-client 3000` is enough
    Login {
        /// The relay, like relay.example.com
        server: String,
        /// The relay's token; asked for where it is not given
        #[arg(long, env = "GGROK_TOKEN", hide_env_values = true)]
        token: Option<String>,
    },
    /// Make a link that lets visitors in for a while, where --basic-auth or --links-only keep others out
    Share(Box<ShareArgs>),
    /// Show or change what is saved
    Config {
        #[command(subcommand)]
        action: Option<ConfigAction>,
    },
}

/// What can be done with the saved settings. A value may be a token, so it is not to be shown.
#[derive(Subcommand)]
pub(crate) enum ConfigAction {
    /// Show what is saved, without the token
    Show,
    /// Print the path of the file
    Path,
    /// Save a value
    Set {
        key: Key,
        /// The value; a token is asked for where it is not given
        value: Option<String>,
    },
    /// Forget a value
    Unset { key: Key },
}

/// What can be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Key {
    /// The relay
    Server,
    /// The relay's token
    Token,
}

/// A tunnel's settings.
#[derive(Args)]
pub(crate) struct TunnelArgs {
    /// Port or address of the local server, like 3000
    #[arg(value_name = "LOCAL", group = "which")]
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
    #[arg(long, env = "GGROK_LOCAL_HTTP2", value_parser = clap::builder::FalseyValueParser::new())]
    local_http2: bool,

    #[command(flatten)]
    registration: RegistrationArgs,

    #[command(flatten)]
    rules: RulesArgs,

    /// The relay's token
    #[arg(
        long,
        alias = "apikey",
        env = "GGROK_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<String>,

    /// A PEM file with certificate authorities to trust besides the system's
    #[arg(long, env = "GGROK_CA_CERT", value_name = "FILE")]
    ca_cert: Option<PathBuf>,

    /// What to speak with the relay; by itself the best that both know
    #[arg(
        long,
        env = "GGROK_DIALECT",
        default_value = "auto",
        value_name = "DIALECT"
    )]
    dialect: DialectChoice,

    /// How long the local server may take for a response, in the originals' dialects
    #[arg(long, env = "GGROK_LOCAL_TIMEOUT", value_parser = humantime::parse_duration, default_value = "25s", value_name = "TIME")]
    local_timeout: Duration,

    /// Largest window of one streamed body: what may be on its way or unread
    #[arg(
        long,
        env = "GGROK_WINDOW_LIMIT",
        default_value = "1MiB",
        value_name = "SIZE"
    )]
    window_limit: ByteSize,

    /// Largest body of a request or response, in the originals' dialects
    #[arg(
        long,
        env = "GGROK_BODY_LIMIT",
        default_value = "10MiB",
        value_name = "SIZE"
    )]
    body_limit: ByteSize,

    /// Threads that work for the tunnel; more than one seldom helps
    #[arg(
        long,
        env = "GGROK_WORKERS",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=1024),
        value_name = "COUNT"
    )]
    workers: u16,

    /// Print one JSON object a line
    #[arg(long, env = "GGROK_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) json: bool,

    /// What is logged, to standard error: off, error, warn, info, debug or trace
    #[arg(
        long = "log",
        env = "GGROK_LOG",
        default_value = "warn",
        value_name = "LEVEL"
    )]
    pub(crate) log_level: LevelFilter,

    /// ggrok's own flag: save the relay and exit
    #[arg(
        long = "proxyServer",
        hide = true,
        value_name = "HOST",
        conflicts_with = "which"
    )]
    pub(crate) proxy_server: Option<String>,

    /// ggrok's own flag: be the client, which this program always is
    #[arg(long = "client", hide = true)]
    client: bool,
}

/// What is spoken with the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DialectChoice {
    /// The best that the relay knows
    Auto,
    /// Many requests at once, streamed; WebSockets
    #[value(name = "ggrok.v2")]
    V2,
    /// The original's: one request at a time
    Ggrok,
    /// The original's of mirrors: one request at a time
    MagicMirror,
}

/// Rewrites the originals' flags, which may have one dash: ggrok's `-client`, `-port 3000` and
/// `-proxyServer HOST`, magic-mirror's `-remote URL`, `-name NAME`, `-local ADDRESS`, `-apikey KEY`.
pub(crate) fn with_two_dashes(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    args.map(|arg| {
        let name = arg.to_str().unwrap_or_default().split('=').next();
        match name {
            Some(
                "-client" | "-port" | "-proxyServer" | "-remote" | "-name" | "-local" | "-apikey",
            ) => {
                let mut dashed = OsString::from("-");
                dashed.push(arg);
                dashed
            }
            _ => arg,
        }
    })
    .collect()
}

impl TunnelArgs {
    /// Threads that work for the tunnel.
    pub(crate) const fn workers(&self) -> usize {
        self.workers as usize
    }

    /// Puts flags, environment and saved settings together, in this order of precedence.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let saved = Settings::load()?;
        let variable = |name: &str| env::var(name).ok();
        let registration = self.registration.clone().or_environment(variable)?;
        let local = self.local(registration.is_remote())?;
        let Registration {
            relay,
            is_saved_relay,
            claim,
        } = registration.read(saved.server)?;
        let mut config = Config::new(relay, local);
        // The saved token is the saved relay's, and goes to no other.
        let saved_token = saved.token.filter(|_| is_saved_relay);
        config.token = checked_token(self.token.as_deref().or(saved_token.as_deref()))?;
        config.rules = self.rules.read()?;
        config.authorities = authorities(self.ca_cert.as_deref())?;
        config.dialect = self.dialect(&claim)?;
        config.claim = claim;
        config.host_header = self.host_header.clone();
        config.local_http2 = self.local_http2;
        config.local_timeout = self.local_timeout;
        config.limits.window = bytes("--window-limit", self.window_limit)?;
        config.limits.body = bytes("--body-limit", self.body_limit)?;
        Ok(config)
    }

    fn local(&self, is_remote: bool) -> anyhow::Result<LocalAddress> {
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

    fn dialect(&self, claim: &Claim) -> anyhow::Result<Option<Dialect>> {
        let dialect = match self.dialect {
            DialectChoice::Auto => return Ok(None),
            DialectChoice::V2 => Dialect::V2,
            DialectChoice::Ggrok => Dialect::Ggrok,
            DialectChoice::MagicMirror => Dialect::MagicMirror,
        };
        if !claim.speaks(dialect) {
            let (what, original) = match claim {
                Claim::Mirror(_) => ("a --name", claim.original()),
                Claim::Host | Claim::OtherHost(_) => ("a host", claim.original()),
            };
            bail!("{dialect} is not spoken for {what}: use --dialect {original}, ggrok.v2 or auto");
        }
        Ok(Some(dialect))
    }
}

/// Certificate authorities of a file.
fn authorities(path: Option<&Path>) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let authorities: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is no PEM file", path.display()))?;
    if authorities.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(authorities)
}

/// A token that a field can hold.
fn checked_token(token: Option<&str>) -> anyhow::Result<Option<Token>> {
    let text = token.unwrap_or_default().trim();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("the token has a character that no token has; copy it again");
    }
    Ok(token.and_then(Token::new))
}

/// A size that is held in memory.
fn bytes(flag: &str, size: ByteSize) -> anyhow::Result<usize> {
    if size > ByteSize::gib(1) {
        bail!("{flag} is at most 1GiB: so much is held in memory");
    }
    Ok(usize::try_from(size.as_u64())?)
}

/// Reads the address of a relay.
pub(crate) fn relay(server: &str) -> anyhow::Result<RelayAddress> {
    let address = server.parse();
    address.with_context(|| format!("{server:?} is no address of a relay"))
}

#[cfg(test)]
mod tests {
    use super::{Cli, with_two_dashes};
    use clap::{CommandFactory, Parser};
    use std::ffi::OsString;

    #[test]
    fn describes_a_consistent_command_line() {
        Cli::command().debug_assert();
    }

    #[test]
    fn takes_the_flags_of_the_originals() {
        let args = [
            "ggrok-client",
            "-client",
            "-port=3000",
            "-proxyServer",
            "-remote=wss://a.example/mirror",
            "-name",
            "-apikey",
            "-local",
            "-p",
        ];
        let modern = with_two_dashes(args.iter().map(OsString::from));
        assert_eq!(
            modern,
            [
                "ggrok-client",
                "--client",
                "--port=3000",
                "--proxyServer",
                "--remote=wss://a.example/mirror",
                "--name",
                "--apikey",
                "--local",
                "-p"
            ]
        );
    }

    #[test]
    fn refuses_two_local_servers() {
        let cli = Cli::try_parse_from(["ggrok-client", "3000", "--port", "4000"]);
        assert!(
            cli.err()
                .unwrap()
                .to_string()
                .contains("cannot be used with")
        );
    }
}
