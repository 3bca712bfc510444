//! The relay's program: reads settings, listens, serves until a signal.

mod cli;
mod open_files;
mod signals;
mod token;

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use ggrok_server::Access;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{Cli, Command, LogFormat, OperatorArgs, RelayArgs, TokenAction};

// Large bodies and bursts of calls cost less than with the system's: docs/speed.md.
#[cfg(all(feature = "jemalloc", not(any(windows, target_env = "musl"))))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let (cli, warnings) = Cli::read();
    let result = match cli.command {
        Some(Command::Token {
            action: TokenAction::New(new),
        }) => token::new(&new),
        None => {
            let _log = start_log(&cli.relay.operator);
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            runtime(cli.relay.workers()).and_then(|runtime| runtime.block_on(run(&cli.relay)))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ggrok-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What runs the relay on so many threads. One alone need never wake another.
fn runtime(workers: usize) -> anyhow::Result<Runtime> {
    let mut builder = match workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(workers).enable_all().build();
    runtime.context("cannot start as many threads as --workers says")
}

async fn run(args: &RelayArgs) -> anyhow::Result<()> {
    let tokens = args.access.tokens()?;
    let config = args.config(tokens.clone().map_or_else(Access::open, Access::by))?;
    open_files::raise(config.connections + config.tunnels + OTHER_FILES);
    let address = args.address();
    let shutdown = signals::stop_signal()?;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (another address: --bind, another port: --port)")
    })?;
    let address = listener.local_addr()?;
    let operators = match args.operator.metrics_listen {
        Some(address) => Some(listen_for_operators(address).await?),
        None => None,
    };
    let metrics = config.metrics.clone();
    let open = tokens.is_none();
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), open, trusted_hops = config.trusted_hops, memory = %bytesize::ByteSize(config.memory as u64), "listening");
    let watching = async {
        match tokens {
            Some(tokens) => tokens.watch().await,
            None => std::future::pending().await,
        }
    };
    let telling = async {
        match operators {
            Some(listener) => ggrok_server::serve_metrics(listener, metrics).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = ggrok_server::serve(listener, config, shutdown) => Ok(()),
        never = watching => match never {},
        never = telling => match never {},
    }
}

/// Files besides connections: listeners, the log, connections that are being accepted or closed.
const OTHER_FILES: usize = 256;

async fn listen_for_operators(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for metrics (another address: --metrics-listen)")
    })?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving metrics");
    Ok(listener)
}

/// Starts the log. A thread of its own writes it, and lines that it cannot write are lost: a log that
/// nobody reads must not stop the relay. What is queued is written when the guard is dropped.
fn start_log(args: &OperatorArgs) -> WorkerGuard {
    let (stderr, guard) = tracing_appender::non_blocking(io::stderr());
    // Libraries below have their say only when something is wrong: their debug lines show fields
    // of requests.
    let ours = Targets::new()
        .with_default(args.log_level.min(LevelFilter::WARN))
        // h2 warns of what a peer does wrong, once for each frame.
        .with_target("h2", args.log_level.min(LevelFilter::ERROR))
        .with_target("ggrok", args.log_level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match args.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(ours).with(lines).init();
    guard
}
