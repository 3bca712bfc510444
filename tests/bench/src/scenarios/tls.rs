//! What TLS on the client's link costs the client.

use std::time::Duration;

use super::bulk::{get_bulk, mebibytes, per_gigabyte};
use super::requests::measure;
use crate::figures::Figures;
use crate::scenario::{Column, Scenario, Shape, Stage};
use crate::tunnel::{Between, Setup, Tunnel};

/// The client behind a forwarder, with TLS and without.
pub const SCENARIO: Scenario = Scenario {
    name: "tls",
    about: |sizes| {
        let size = mebibytes(sizes);
        format!(
            "CPU of the client alone: `small`, and a download of {size} MiB, through a forwarder \
             before the relay that ends TLS, as a platform's router does, or speaks in the clear"
        )
    },
    shapes: |_| vec![Shape::Tls(false), Shape::Tls(true)],
    columns: &[
        Column::compared("client_us", "CPU µs a request", 1),
        Column::compared("client_s", "CPU s a GB", 3),
    ],
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage<'_>) -> anyhow::Result<Figures> {
    let setup = Setup {
        between: match stage.shape {
            Shape::Tls(true) => Between::Tls,
            _ => Between::Forwarder,
        },
        ..stage.setup()
    };
    let mut tunnel = Tunnel::start(&setup).await?;
    let requests = vec![tunnel.door.get("/hello")];
    let mut figures = measure(&mut tunnel, requests, 64, stage.sizes).await?;
    let spent = get_bulk(&mut tunnel, stage.sizes).await?;
    let each = |time: Duration| per_gigabyte(time, stage.sizes);
    figures.set("client_s", each(spent.client));
    figures.foreign(&spent);
    Ok(figures)
}
