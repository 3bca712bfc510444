//! Whether a request costs the same with many tunnels at the relay, and with many visitors.

use super::requests::measure;
use crate::clients;
use crate::figures::Figures;
use crate::files;
use crate::scenario::{Column, Scenario, Shape, Stage};
use crate::tunnel::{Setup, Tunnel};
use crate::visitor::get;

/// More tunnels, used in turn.
pub const TUNNELS: Scenario = Scenario {
    name: "more-tunnels",
    about: |_| {
        "`small` with more and more tunnels at the relay, asked in turn; all clients are in one process"
            .to_owned()
    },
    shapes: |sizes| {
        let counts = sizes.growing_tunnels.iter();
        counts
            .map(|count| Shape::Tunnels(files::at_most(*count)))
            .collect()
    },
    columns: COLUMNS,
    run: |stage| Box::pin(more_tunnels(stage)),
};

/// More visitors who are connected.
pub const VISITORS: Scenario = Scenario {
    name: "more-visitors",
    about: |_| {
        "`small` with more and more visitors who are connected; up to 64 of them ask at a time, all \
         in turn"
            .to_owned()
    },
    shapes: |sizes| {
        let counts = sizes.growing_visitors.iter();
        counts
            .map(|count| Shape::Visitors(files::at_most(*count)))
            .collect()
    },
    columns: COLUMNS,
    run: |stage| Box::pin(more_visitors(stage)),
};

const COLUMNS: &[Column] = &[
    Column::compared("cpu_us", "CPU µs a request", 1),
    Column::shown("server_us", "of the server", 1),
    Column::shown("client_us", "of the client", 1),
    Column::shown("rate", "requests/s", 0),
    Column::shown("p50_ms", "p50 ms", 2),
    Column::shown("p99_ms", "p99 ms", 2),
];

async fn more_tunnels(stage: &Stage<'_>) -> anyhow::Result<Figures> {
    let Shape::Tunnels(count) = stage.shape else {
        anyhow::bail!("no number of tunnels");
    };
    let setup = Setup {
        tunnels: Some(count),
        ..stage.setup()
    };
    let mut tunnel = Tunnel::start(&setup).await?;
    let hosts = (0..count).map(clients::host);
    let requests = hosts
        .map(|host| get(&host, "/hello", "keep-alive"))
        .collect();
    measure(&mut tunnel, requests, 64, stage.sizes).await
}

async fn more_visitors(stage: &Stage<'_>) -> anyhow::Result<Figures> {
    let Shape::Visitors(count) = stage.shape else {
        anyhow::bail!("no number of visitors");
    };
    let mut tunnel = stage.tunnel().await?;
    let requests = vec![tunnel.door.get("/hello")];
    measure(&mut tunnel, requests, count, stage.sizes).await
}
