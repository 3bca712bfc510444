//! What its operator sees of the relay, as the command line and the environment say.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use ggrok_server::Access;
use tracing::level_filters::LevelFilter;

use super::access::Secret;

/// What its operator sees of the relay.
#[derive(Args, Debug)]
#[command(next_help_heading = "Log and metrics")]
pub(crate) struct OperatorArgs {
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
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

impl OperatorArgs {
    /// Who may read the metrics where visitors come; nobody where no token was given.
    pub(super) fn metrics_access(&self) -> Option<Access> {
        self.metrics_token().map(Access::token)
    }

    /// The token for the metrics where visitors come.
    pub(super) fn metrics_token(&self) -> Option<&str> {
        self.metrics_token.as_ref().and_then(Secret::given)
    }
}
