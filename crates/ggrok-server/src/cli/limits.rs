//! How much the relay takes, as the command line and the environment say.

use anyhow::bail;
use bytesize::ByteSize;
use clap::Args;
use ggrok_server::Config;

/// How much the relay takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Connections of visitors at a time, WebSockets among them, and of clients that register. For a further
    /// one an idle connection is closed; where none is idle, it is answered with 503
    #[arg(
        long,
        env = "GGROK_CONNECTIONS",
        default_value_t = 4096,
        value_parser = clap::value_parser!(u32).range(1..),
        value_name = "COUNT"
    )]
    connections: u32,

    /// Requests under way at a time, of all clients together; further ones are answered with 503
    #[arg(
        long,
        env = "GGROK_TOTAL_CALLS",
        default_value_t = 4096,
        value_parser = clap::value_parser!(u32).range(1..),
        value_name = "COUNT"
    )]
    total_calls: u32,

    /// Connections of one address, and requests that it has under way, at a time; behind trusted hops
    /// requests alone. For a further connection an idle one of the address is closed
    #[arg(
        long,
        env = "GGROK_PER_ADDRESS",
        default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(1..),
        value_name = "COUNT"
    )]
    per_address: u32,

    /// Clients at a time
    #[arg(
        long,
        env = "GGROK_TUNNELS",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..),
        value_name = "COUNT"
    )]
    tunnels: u32,

    /// Clients of one owner at a time [default: 1000 with --tokens-file, else as many as --tunnels]
    #[arg(
        long,
        env = "GGROK_OWNER_TUNNELS",
        value_parser = clap::value_parser!(u32).range(1..),
        value_name = "COUNT"
    )]
    owner_tunnels: Option<u32>,

    /// Requests of one client that may be under way at a time. A client has a limit of its own (its
    /// --calls), and the smaller of the two counts
    #[arg(
        long,
        env = "GGROK_CALLS",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..),
        value_name = "COUNT"
    )]
    calls: u32,

    /// Bytes of bodies that are held for one client
    #[arg(
        long,
        env = "GGROK_HELD_LIMIT",
        default_value = "64MiB",
        value_name = "SIZE"
    )]
    held_limit: ByteSize,

    /// Largest window of one streamed body: what may be on its way or unread; at least 64KiB
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

    /// Largest body of a request or response, for clients that speak ggrok's own dialect
    #[arg(
        long,
        env = "GGROK_BODY_LIMIT",
        default_value = "10MiB",
        value_name = "SIZE"
    )]
    body_limit: ByteSize,

    /// Memory to spend on visitors and their calls; where it is short, the address that uses most of it
    /// gives way [default: half of what the system lets the process have]
    #[arg(long, env = "GGROK_MEMORY", value_name = "SIZE")]
    memory: Option<ByteSize>,
}

impl LimitArgs {
    /// Sets the limits of a relay, which has one owner or several.
    pub(super) fn apply(&self, config: &mut Config, several: bool) -> anyhow::Result<()> {
        config.connections = count(self.connections);
        config.calls = count(self.total_calls);
        config.per_address = count(self.per_address);
        config.tunnels = count(self.tunnels);
        let of_one = if several { 1000 } else { self.tunnels };
        config.tunnels_of_one = count(self.owner_tunnels.unwrap_or(of_one));
        config.limits.calls = count(self.calls);
        config.limits.held = at_least(
            "--held-limit",
            self.held_limit,
            64,
            "each call may hold that",
        )?;
        config.limits.window = at_least(
            "--window-limit",
            self.window_limit,
            64,
            "so large is every window from the start",
        )?;
        config.limits.frame = at_least(
            "--frame-limit",
            self.frame_limit,
            128,
            "frames of data have 64KiB, and a head",
        )?;
        config.head_limit = at_least("--head-limit", self.head_limit, 4, "browsers send as much")?;
        config.limits.body = bytes("--body-limit", self.body_limit)?;
        if let Some(memory) = self.memory {
            config.memory = budget(memory)?;
        }
        Ok(())
    }
}

const fn count(count: u32) -> usize {
    count as usize
}

/// The budget of memory.
fn budget(memory: ByteSize) -> anyhow::Result<usize> {
    if memory < LEAST_MEMORY {
        bail!("--memory is at least 16MiB: a few hundred calls take that much");
    }
    Ok(usize::try_from(memory.as_u64())?)
}

const LEAST_MEMORY: ByteSize = ByteSize::mib(16);

/// A size that is held in memory, of so many KiB at least.
fn at_least(flag: &str, size: ByteSize, least: u64, why: &str) -> anyhow::Result<usize> {
    if size < ByteSize::kib(least) {
        bail!("{flag} is at least {least}KiB: {why}");
    }
    bytes(flag, size)
}

/// A size that is held in memory.
fn bytes(flag: &str, size: ByteSize) -> anyhow::Result<usize> {
    if size > ByteSize::gib(1) {
        bail!("{flag} is at most 1GiB: so much is held in memory");
    }
    Ok(usize::try_from(size.as_u64())?)
}
