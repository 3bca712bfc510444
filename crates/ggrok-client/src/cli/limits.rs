//! How much the client takes.

use std::time::Duration;

use anyhow::bail;
use bytesize::ByteSize;
use clap::Args;
use ggrok_client::Config;

/// How much the client takes.
#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Largest window of one streamed body: what may be on its way or unread; at least 64KiB
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

    /// Requests that may be under way at a time. The relay has a limit of its own (its --calls), and the
    /// smaller of the two counts
    #[arg(
        long,
        env = "GGROK_CALLS",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..),
        value_name = "COUNT"
    )]
    calls: u32,

    /// How long a streamed response may pause, because the app says nothing or the visitor takes
    /// nothing; more keeps a quiet event stream open. Requests' bodies are the relay's --stream-idle
    #[arg(
        long,
        env = "GGROK_STREAM_IDLE",
        value_parser = humantime::parse_duration,
        default_value = "5m",
        value_name = "TIME"
    )]
    stream_idle: Duration,

    /// How long visitors may wait for their answers when the client stops; a second Ctrl-C ends that
    #[arg(
        long,
        env = "GGROK_GRACE_PERIOD",
        value_parser = humantime::parse_duration,
        default_value = "5s",
        value_name = "TIME"
    )]
    grace_period: Duration,

    /// Threads that work for the tunnel; more than one seldom helps
    #[arg(
        long,
        env = "GGROK_WORKERS",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=1024),
        value_name = "COUNT"
    )]
    workers: u16,
}

impl LimitArgs {
    /// Threads that work for the tunnel.
    pub(crate) const fn workers(&self) -> usize {
        self.workers as usize
    }

    pub(super) fn apply(&self, config: &mut Config) -> anyhow::Result<()> {
        if self.window_limit < ByteSize::kib(64) {
            bail!("--window-limit is at least 64KiB: so large is every window from the start");
        }
        if self.grace_period > LONGEST_GRACE {
            bail!("--grace-period is at most 1m: a relay waits no longer");
        }
        if self.stream_idle.is_zero() {
            bail!(
                "--stream-idle of nothing would end every response that pauses; give some time, like \
                 --stream-idle 5m"
            );
        }
        config.grace_period = self.grace_period;
        config.limits.calls = self.calls as usize;
        config.limits.stream_idle = self.stream_idle;
        config.limits.window = bytes("--window-limit", self.window_limit)?;
        config.limits.body = bytes("--body-limit", self.body_limit)?;
        Ok(())
    }
}

/// What a relay gives a client that will stop.
const LONGEST_GRACE: Duration = Duration::from_secs(60);

/// A size that is held in memory.
fn bytes(flag: &str, size: ByteSize) -> anyhow::Result<usize> {
    if size > ByteSize::gib(1) {
        bail!("{flag} is at most 1GiB: so much is held in memory");
    }
    Ok(usize::try_from(size.as_u64())?)
}
