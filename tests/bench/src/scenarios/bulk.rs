//! One large body: down, and up.

use std::time::Duration;

use anyhow::Context;
use tokio::time::timeout;

use crate::content::Content;
use crate::figures::Figures;
use crate::meter::{Meter, Spent};
use crate::scenario::{Column, Scenario, Shape, Stage};
use crate::sizes::Sizes;
use crate::tunnel::Tunnel;
use crate::visitor::Visitor;

/// A large answer.
pub const DOWNLOAD: Scenario = Scenario {
    name: "download",
    about: |sizes| {
        let size = mebibytes(sizes);
        format!("one visitor gets {size} MiB, compared byte by byte")
    },
    shapes: |_| vec![Shape::AsItIs],
    columns: COLUMNS,
    run: |stage| Box::pin(download(stage)),
};

/// A large request.
pub const UPLOAD: Scenario = Scenario {
    name: "upload",
    about: |sizes| {
        let size = mebibytes(sizes);
        format!(
            "one visitor sends {size} MiB with POST, which the local server compares byte by byte"
        )
    },
    shapes: |_| vec![Shape::AsItIs],
    columns: COLUMNS,
    run: |stage| Box::pin(upload(stage)),
};

const COLUMNS: &[Column] = &[
    Column::compared("cpu_s", "CPU s a GB", 3),
    Column::shown("server_s", "of the server", 3),
    Column::shown("client_s", "of the client", 3),
    Column::shown("rate", "MB/s", 0),
    Column::shown("server_mib", "peak MiB of the server", 1),
    Column::shown("client_mib", "of the client", 1),
];

async fn download(stage: &Stage<'_>) -> anyhow::Result<Figures> {
    let mut tunnel = stage.tunnel().await?;
    let spent = get_bulk(&mut tunnel, stage.sizes).await?;
    Ok(figures(&spent, stage.sizes))
}

/// Downloads a large body.
///
/// # Errors
/// Where it does not arrive as it is.
pub async fn get_bulk(tunnel: &mut Tunnel, sizes: &Sizes) -> anyhow::Result<Spent> {
    let content = Content::new();
    let door = tunnel.door.clone();
    let mut visitor = Visitor::connect(door.address).await?;
    let request = |length| door.get(&format!("/bytes/{length}"));
    visitor
        .download(&request(WARM_UP), &content, WARM_UP)
        .await?;
    let meter = Meter::start(tunnel);
    let request = request(sizes.body);
    let downloading = visitor.download(&request, &content, sizes.body);
    timeout(PATIENCE, downloading)
        .await
        .context("it takes too long")??;
    let spent = meter.stop();
    tunnel.must_live()?;
    Ok(spent)
}

async fn upload(stage: &Stage<'_>) -> anyhow::Result<Figures> {
    let mut tunnel = stage.tunnel().await?;
    let content = Content::new();
    let door = tunnel.door.clone();
    let mut visitor = Visitor::connect(door.address).await?;
    visitor.upload(&door, &content, WARM_UP).await?;
    let meter = Meter::start(&mut tunnel);
    let uploading = visitor.upload(&door, &content, stage.sizes.body);
    timeout(PATIENCE, uploading)
        .await
        .context("it takes too long")??;
    let spent = meter.stop();
    tunnel.must_live()?;
    Ok(figures(&spent, stage.sizes))
}

fn figures(spent: &Spent, sizes: &Sizes) -> Figures {
    let mut figures = Figures::default();
    let each = |time: Duration| per_gigabyte(time, sizes);
    figures.set("cpu_s", each(spent.cpu()));
    figures.set("server_s", each(spent.server));
    figures.set("client_s", each(spent.client));
    figures.set("rate", sizes.body as f64 / 1e6 / spent.wall.as_secs_f64());
    figures.set("server_mib", spent.memory.server.peak as f64 / MEBIBYTE);
    figures.set("client_mib", spent.memory.client.peak as f64 / MEBIBYTE);
    figures.foreign(spent);
    figures
}

/// Seconds for 10^9 bytes.
pub fn per_gigabyte(time: Duration, sizes: &Sizes) -> f64 {
    time.as_secs_f64() / (sizes.body as f64 / 1e9)
}

/// The size of a large body in MiB.
pub const fn mebibytes(sizes: &Sizes) -> u64 {
    sizes.body >> 20
}

pub const MEBIBYTE: f64 = 1048576.0;

/// Bytes that make buffers and windows grow before anything is measured.
const WARM_UP: u64 = 8 << 20;

/// How long a large body may take.
const PATIENCE: Duration = Duration::from_secs(120);
