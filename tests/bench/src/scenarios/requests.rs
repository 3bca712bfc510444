//! Small requests on connections that stay open: by many visitors at once, and by one in sequence.

use std::time::Duration;

use crate::figures::Figures;
use crate::load::{Answers, Crowd, Until};
use crate::meter::{Meter, Spent};
use crate::scenario::{Column, Scenario, Shape, Stage};
use crate::sizes::Sizes;
use crate::tunnel::Tunnel;

/// Visitors who ask as fast as they get answers.
pub const SMALL: Scenario = Scenario {
    name: "small",
    about: |sizes| {
        let seconds = sizes.time.as_secs();
        format!(
            "{MANY} visitors ask on open connections as fast as they get answers, for {seconds} s"
        )
    },
    shapes: |_| vec![Shape::AsItIs],
    columns: COLUMNS,
    run: |stage| Box::pin(many(stage, MANY)),
};

/// One visitor, one request after the other.
pub const SEQ: Scenario = Scenario {
    name: "seq",
    about: |sizes| {
        let seconds = sizes.time.as_secs();
        format!("one visitor asks on one connection, one request after the other, for {seconds} s")
    },
    shapes: |_| vec![Shape::AsItIs],
    columns: SEQ_COLUMNS,
    run: |stage| Box::pin(many(stage, 1)),
};

const COLUMNS: &[Column] = &[
    Column::compared("cpu_us", "CPU µs a request", 1),
    Column::shown("server_us", "of the server", 1),
    Column::shown("client_us", "of the client", 1),
    Column::shown("rate", "requests/s", 0),
    Column::shown("p50_ms", "p50 ms", 2),
    Column::shown("p99_ms", "p99 ms", 2),
];

const SEQ_COLUMNS: &[Column] = &[
    Column::compared("cpu_us", "CPU µs a request", 1),
    Column::shown("server_us", "of the server", 1),
    Column::shown("client_us", "of the client", 1),
    Column::compared("p50_ms", "p50 ms", 3),
    Column::shown("p99_ms", "p99 ms", 3),
];

async fn many(stage: &Stage<'_>, visitors: usize) -> anyhow::Result<Figures> {
    let mut tunnel = stage.tunnel().await?;
    let requests = vec![tunnel.door.get("/hello")];
    measure(&mut tunnel, requests, visitors, stage.sizes).await
}

/// Lets visitors ask for a while, up to 64 at a time, and tells what that took.
///
/// # Errors
/// Where none gets an answer.
pub async fn measure(
    tunnel: &mut Tunnel,
    requests: Vec<Vec<u8>>,
    visitors: usize,
    sizes: &Sizes,
) -> anyhow::Result<Figures> {
    let mut crowd = Crowd::open(tunnel.door.address, requests, visitors, MANY).await?;
    crowd.ask(Until::Over(sizes.warm_up)).await?;
    let meter = Meter::start(tunnel);
    let answers = crowd.ask(Until::Over(sizes.time)).await?;
    let spent = meter.stop();
    tunnel.must_live()?;
    figures(&answers, &spent)
}

/// What requests took.
///
/// # Errors
/// Where none was answered.
pub fn figures(answers: &Answers, spent: &Spent) -> anyhow::Result<Figures> {
    let count = answers.count() as f64;
    if answers.count() == 0 {
        let reason = answers.reason.as_deref().unwrap_or("nobody asked");
        anyhow::bail!("no answer: {reason}");
    }
    let mut figures = Figures::default();
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
    figures.set("cpu_us", each(spent.cpu()));
    figures.set("server_us", each(spent.server));
    figures.set("client_us", each(spent.client));
    figures.set("rate", count / spent.wall.as_secs_f64());
    figures.set("p50_ms", milliseconds(answers.quantile(0.50)));
    figures.set("p99_ms", milliseconds(answers.quantile(0.99)));
    figures.foreign(spent);
    figures.count_failed(answers);
    Ok(figures)
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Visitors who ask at a time.
const MANY: usize = 64;
