//! How long the relay waits, as the command line and the environment say.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use ggrok_server::Config;

use super::is_on_heroku;

/// How long the relay waits.
#[derive(Args, Debug)]
#[command(next_help_heading = "Time-outs")]
pub(super) struct TimeoutArgs {
    /// How long a connection may be silent before a whole request head and between requests
    /// [default: 15s; 95s with trusted hops]
    #[arg(long, env = "GGROK_IDLE_TIMEOUT", value_parser = humantime::parse_duration, value_name = "TIME")]
    idle_timeout: Option<Duration>,

    /// How long a response may take to start [default: 5m; 28s where DYNO is set, and for clients
    /// that speak ggrok's own dialect]
    #[arg(long, env = "GGROK_CALL_TIMEOUT", value_parser = humantime::parse_duration, value_name = "TIME")]
    call_timeout: Option<Duration>,

    /// How long a streamed request's body may pause, and how long a visitor may take nothing of a
    /// response. How long the app may say nothing in one is its client's --stream-idle
    #[arg(long, env = "GGROK_STREAM_IDLE", value_parser = humantime::parse_duration, default_value = "5m", value_name = "TIME")]
    stream_idle: Duration,

    /// How long a visitor may take for each KiB of a body whose length it told
    #[arg(long, env = "GGROK_BODY_PACE", value_parser = humantime::parse_duration, default_value = "1m", value_name = "TIME")]
    body_pace: Duration,

    /// How long after the start requests may wait for a client that comes back
    #[arg(long, env = "GGROK_SETTLING_TIME", value_parser = humantime::parse_duration, default_value = "5s", value_name = "TIME")]
    settling_time: Duration,

    /// How long calls in flight may take to finish when the relay stops
    #[arg(long, env = "GGROK_GRACE_PERIOD", value_parser = humantime::parse_duration, default_value = "25s", value_name = "TIME")]
    grace_period: Duration,
}

impl TimeoutArgs {
    pub(super) fn apply(&self, config: &mut Config) -> anyhow::Result<()> {
        if let Some(patience) = self.idle_timeout {
            config.idle_timeout = some("--idle-timeout", "15s", patience)?;
        }
        if let Some(patience) = self.call_timeout {
            let patience = some("--call-timeout", "5m", patience)?;
            config.limits.call_timeout = patience;
            config.limits.answer_timeout = patience;
        } else if is_on_heroku() {
            // Its router gives up after 30 s, and tells the visitor nothing of use.
            config.limits.answer_timeout = config.limits.call_timeout;
        }
        config.limits.stream_idle = some("--stream-idle", "5m", self.stream_idle)?;
        config.body_pace = some("--body-pace", "1m", self.body_pace)?;
        config.settling_time = self.settling_time;
        config.grace_period = self.grace_period;
        Ok(())
    }
}

/// A time that something may take. Without any, it would end as soon as it begins.
fn some(flag: &str, example: &str, time: Duration) -> anyhow::Result<Duration> {
    if time.is_zero() {
        bail!(
            "{flag} of nothing would end everything at once; give some time, like {flag} {example}"
        );
    }
    Ok(time)
}
