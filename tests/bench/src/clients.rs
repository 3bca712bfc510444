//! Many clients of one relay in a process: as many tunnels, each with a host of its own.

use std::net::SocketAddr;

use anyhow::Context;
use futures_util::{StreamExt, stream};
use ggrok_client::{Claim, Config, Event, LocalAddress, RelayAddress, Token, run};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The host of a tunnel.
pub fn host(number: usize) -> String {
    format!("t{number}.bench.example")
}

/// The token of all of them.
pub const TOKEN: &str = "bench";

/// Registers them, says on standard output that all are ready, and serves.
pub async fn play(relay: SocketAddr, local: SocketAddr, count: usize) -> anyhow::Result<()> {
    let relay: RelayAddress = format!("ws://{relay}").parse()?;
    let local: LocalAddress = local.to_string().parse()?;
    let mut clients = JoinSet::new();
    let mut ready = 0;
    let mut starting = stream::iter(0..count)
        .map(|number| start(number, relay.clone(), local.clone()))
        .buffer_unordered(AT_A_TIME);
    while let Some(running) = starting.next().await {
        clients.spawn(running?);
        ready += 1;
    }
    println!("{ready} tunnels are ready");
    // None ends while the relay is there.
    clients.join_next().await.context("no tunnels")??
}

/// A client that runs, once the relay has let it in.
async fn start(
    number: usize,
    relay: RelayAddress,
    local: LocalAddress,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let mut config = Config::new(relay, local);
    config.claim = Claim::OtherHost(host(number).parse()?);
    config.token = Token::new(TOKEN);
    let (told, mut ready) = mpsc::channel(1);
    let observer = move |event: Event| match event {
        Event::Ready { .. } => {
            told.try_send(()).ok();
        }
        Event::Waiting { reason, .. } => eprintln!("{reason}"),
        _ => {}
    };
    let mut running = Box::pin(run(config, observer, std::future::pending()));
    tokio::select! {
        ended = &mut running => {
            ended?;
            anyhow::bail!("the client ended")
        }
        _ = ready.recv() => Ok(async move { Ok(running.await?) }),
    }
}

/// How many register at a time.
const AT_A_TIME: usize = 64;
