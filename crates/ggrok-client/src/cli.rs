//! The client's command line, environment and saved settings, down to a [`Config`].

mod dialect;
mod foreign;
mod limits;
mod local;
mod registration;
mod relay;
mod rules;
mod share;
mod warnings;

use std::env;
use std::ffi::OsString;

use clap::builder::FalseyValueParser;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use ggrok_client::Config;
use tracing::level_filters::LevelFilter;

use self::dialect::DialectArgs;
pub(crate) use self::foreign::translate;
use self::limits::LimitArgs;
use self::local::LocalArgs;
use self::registration::{Registration, RegistrationArgs};
use self::relay::RelayArgs;
pub(crate) use self::relay::{relay_address, token_warning};
use self::rules::RulesArgs;
pub(crate) use self::share::{NewShareArgs, OwnerArgs, ShareAction, ShareArgs};
use crate::settings::{self, Settings};

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

impl Cli {
    /// Reads arguments and the environment, and returns besides what warnings there are of them.
    pub(crate) fn read(
        args: impl Iterator<Item = OsString>,
    ) -> Result<(Self, Vec<String>), clap::Error> {
        let matches = Self::command().try_get_matches_from(with_two_dashes(args))?;
        let cli = Self::from_arg_matches(&matches);
        let cli = cli.map_err(|error| error.format(&mut Self::command()))?;
        let saved = settings::path().ok();
        Ok((cli, warnings::warnings(&matches, saved.as_deref())))
    }
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
    /// Show or change what is saved, in the file that `config path` prints [env: GGROK_CONFIG=]
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
    /// Print the path of the file, which is the one that GGROK_CONFIG names where that is set
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
    #[command(flatten)]
    local: LocalArgs,

    #[command(flatten)]
    registration: RegistrationArgs,

    #[command(flatten)]
    relay: RelayArgs,

    #[command(flatten)]
    dialect: DialectArgs,

    #[command(flatten)]
    rules: RulesArgs,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    /// Print one JSON object a line
    #[arg(long, env = "GGROK_JSON", value_parser = FalseyValueParser::new(), help_heading = OUTPUT)]
    pub(crate) json: bool,

    /// What is logged, to standard error: off, error, warn, info, debug or trace
    #[arg(
        long = "log",
        env = "GGROK_LOG",
        default_value = "warn",
        value_name = "LEVEL",
        help_heading = OUTPUT
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

/// What `--help` calls the flags for what is printed.
const OUTPUT: &str = "Output";

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
    /// Puts flags, environment and saved settings together, in this order of precedence.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let saved = Settings::load()?;
        let registration = self.registration.clone().or_environment(variable)?;
        let local = self.local.address(registration.is_remote())?;
        let Registration { relay, claim } = registration.read(&saved)?;
        let mut config = Config::new(relay, local);
        config.token = self.relay.token(&config.relay, &saved)?;
        config.rules = self.rules.read()?;
        config.authorities = self.relay.authorities()?;
        config.dialect = self.dialect.read(&claim)?;
        config.claim = claim;
        self.local.apply(&mut config)?;
        self.limits.apply(&mut config)?;
        Ok(config)
    }
}

/// A variable of the environment.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
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
