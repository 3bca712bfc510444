//! What holds connections that nobody uses costs: visitors', and tunnels.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::sleep;

use super::bulk::MEBIBYTE;
use crate::figures::Figures;
use crate::files;
use crate::load::Crowd;
use crate::meter::{BothMemories, Meter};
use crate::scenario::{Column, Scenario, Shape, Stage, grouped};
use crate::tunnel::{Setup, Tunnel};

/// Visitors who have asked once, and stay.
pub const VISITORS: Scenario = Scenario {
    name: "idle-visitors",
    about: |sizes| {
        let visitors = grouped(sizes.idle_visitors);
        format!("{visitors} visitors who have each asked once and keep their connections")
    },
    shapes: |_| vec![Shape::AsItIs],
    columns: &[
        Column::compared("both_mib", "MiB of both", 1),
        Column::shown("server_mib", "of the server", 1),
        Column::shown("client_mib", "of the client", 1),
        Column::shown("kib_each", "KiB a visitor", 1),
    ],
    run: |stage| Box::pin(visitors(stage)),
};

/// Tunnels that nobody calls.
pub const TUNNELS: Scenario = Scenario {
    name: "idle-tunnels",
    about: |sizes| {
        let seconds = sizes.settling.as_secs();
        format!(
            "tunnels at one relay, each with a host of its own, {seconds} s after the last came"
        )
    },
    shapes: |sizes| vec![Shape::Tunnels(files::at_most(sizes.idle_tunnels))],
    columns: &[
        Column::shown("kib_each", "KiB of the relay a tunnel", 1),
        Column::shown("before_mib", "MiB of the relay with one", 1),
        Column::shown("after_mib", "with all", 1),
        Column::shown("client_kib_each", "KiB of the clients a tunnel", 1),
    ],
    run: |stage| Box::pin(tunnels(stage)),
};

async fn visitors(stage: &Stage<'_>) -> anyhow::Result<Figures> {
    let mut tunnel = stage.tunnel().await?;
    let requests = vec![tunnel.door.get("/hello")];
    // A tunnel that carries TCP has two connections for each.
    let count = files::at_most(2 * stage.sizes.idle_visitors) / 2;
    let meter = Meter::start(&mut tunnel);
    let before = BothMemories::of(&tunnel.processes());
    let crowd = Crowd::open(tunnel.door.address, requests, count, AT_A_TIME).await?;
    sleep(SETTLING).await;
    let spent = meter.stop();
    let after = spent.memory;
    tunnel.must_live()?;
    let open = crowd.open_now();
    let mut figures = Figures::default();
    figures.set("both_mib", after.now() as f64 / MEBIBYTE);
    figures.set("server_mib", after.server.now as f64 / MEBIBYTE);
    figures.set("client_mib", after.client.now as f64 / MEBIBYTE);
    let grown = after.now().saturating_sub(before.now());
    figures.set("kib_each", grown as f64 / 1024.0 / count as f64);
    figures.foreign(&spent);
    note_fewer(&mut figures, count, stage.sizes.idle_visitors);
    if open < count {
        figures.note(format!("closed {} of the connections", count - open));
    }
    Ok(figures)
}

async fn tunnels(stage: &Stage<'_>) -> anyhow::Result<Figures> {
    let Shape::Tunnels(count) = stage.shape else {
        anyhow::bail!("no number of tunnels");
    };
    let setup = |count| Setup {
        tunnels: Some(count),
        ..stage.setup()
    };
    let mut one = Tunnel::start(&setup(1)).await?;
    let before = BothMemories::of(&one.processes());
    drop(one);
    let mut many = Tunnel::start(&setup(count)).await?;
    let meter = Meter::start(&mut many);
    sleep(stage.sizes.settling).await;
    let spent = meter.stop();
    let after = spent.memory;
    many.must_live()?;
    ensure!(count > 1, "one tunnel tells nothing");
    let each = |after: u64, before: u64| {
        let grown = after.saturating_sub(before) as f64;
        grown / 1024.0 / (count - 1) as f64
    };
    let mut figures = Figures::default();
    figures.set("kib_each", each(after.server.now, before.server.now));
    figures.set("before_mib", before.server.now as f64 / MEBIBYTE);
    figures.set("after_mib", after.server.now as f64 / MEBIBYTE);
    figures.set("client_kib_each", each(after.client.now, before.client.now));
    figures.foreign(&spent);
    note_fewer(&mut figures, count, stage.sizes.idle_tunnels);
    Ok(figures)
}

fn note_fewer(figures: &mut Figures, count: usize, wanted: usize) {
    if count < wanted {
        let (count, wanted) = (grouped(count), grouped(wanted));
        figures.note(format!(
            "{count} in place of {wanted}: the limit of open files"
        ));
    }
}

/// Visitors who come at a time.
const AT_A_TIME: usize = 64;

/// Less than the time after which a relay closes an idle connection.
const SETTLING: Duration = Duration::from_secs(1);
