//! The relay's program: reads settings, listens, serves until a signal.

mod cli;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{Cli, LogFormat};

// One worker: a call's few steps cost less than waking another thread for them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli);
    match run(&cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ggrok-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    let config = cli.config()?;
    let address = cli.address();
    let shutdown = signals()?;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (another address: --bind, another port: --port)")
    })?;
    let address = listener.local_addr()?;
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), access = ?config.access, trusted_hops = config.trusted_hops, "listening");
    ggrok_server::serve(listener, config, shutdown).await;
    Ok(())
}

fn start_log(cli: &Cli) {
    // Libraries below have their say only when something is wrong: their debug lines show fields
    // of requests.
    let ours = Targets::new()
        .with_default(cli.log_level.min(tracing::level_filters::LevelFilter::WARN))
        .with_target("ggrok", cli.log_level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match cli.log_format {
        LogFormat::Text => lines.with_filter(ours).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(ours).boxed(),
    };
    tracing_subscriber::registry().with(lines).init();
}

/// Waits for the first request to stop. Later ones change nothing: platforms send several.
#[cfg(unix)]
fn signals() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn signals() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen for Ctrl-C");
            std::future::pending().await
        }
    })
}
