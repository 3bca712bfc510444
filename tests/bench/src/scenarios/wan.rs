//! A long way between client and server, in round trips of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::content::Content;
use crate::figures::{Figures, median};
use crate::meter::Meter;
use crate::origin::HELLO;
use crate::scenario::{Column, Scenario, Shape, Stage};
use crate::tunnel::{Between, Setup, Tunnel};
use crate::visitor::{Door, Visitor};

/// What a long way costs.
pub const SCENARIO: Scenario = Scenario {
    name: "wan",
    about: |_| {
        let round_trip = 2 * ONE_WAY.as_millis();
        format!(
            "{round_trip} ms there and back between client and server: a request on a new connection \
             of a visitor; a page of 1 + {FILES} files over {LANES} connections; {BURST} requests at \
             once on {BURST} new connections"
        )
    },
    shapes: |_| vec![Shape::AsItIs],
    columns: &[
        Column::compared("single", "a request, round trips", 2),
        Column::compared("page", "a page", 2),
        Column::compared("burst", "a burst", 2),
    ],
    run: |stage| Box::pin(run(stage)),
};

/// The delay of the link, one way.
const ONE_WAY: Duration = Duration::from_millis(25);

async fn run(stage: &Stage<'_>) -> anyhow::Result<Figures> {
    let setup = Setup {
        between: Between::Link(ONE_WAY),
        ..stage.setup()
    };
    let mut tunnel = Tunnel::start(&setup).await?;
    let meter = Meter::start(&mut tunnel);
    let door = &tunnel.door;
    let files = Arc::new(Files::of(door));
    // The first lets windows grow, and pools fill.
    let mut pages = Vec::new();
    for _ in 0..=stage.sizes.pages {
        pages.push(clocked(page(door, &files)).await.context("a page")?);
    }
    let mut singles = Vec::new();
    for _ in 0..stage.sizes.singles {
        singles.push(clocked(burst(door, 1)).await.context("a request")?);
    }
    let mut bursts = Vec::new();
    for _ in 0..stage.sizes.bursts {
        bursts.push(clocked(burst(door, BURST)).await.context("a burst")?);
    }
    let spent = meter.stop();
    tunnel.must_live()?;
    let mut figures = Figures::default();
    let (_, pages) = pages.split_first().context("no page")?;
    for (key, times) in [
        ("single", &singles[..]),
        ("page", pages),
        ("burst", &bursts),
    ] {
        let times = times.to_vec();
        figures.set(key, median(times).context("nothing was timed")?);
    }
    figures.foreign(&spent);
    Ok(figures)
}

/// How many round trips that takes.
async fn clocked(what: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<f64> {
    let started = Instant::now();
    timeout(PATIENCE, what)
        .await
        .context("it takes too long")??;
    let round_trip = 2 * ONE_WAY;
    Ok(started.elapsed().as_secs_f64() / round_trip.as_secs_f64())
}

/// Requests at once, each on a new connection.
async fn burst(door: &Door, count: usize) -> anyhow::Result<()> {
    let request: Arc<[u8]> = door.get("/hello").into();
    let address = door.address;
    let mut visiting = JoinSet::new();
    for _ in 0..count {
        let request = request.clone();
        visiting.spawn(async move {
            let mut visitor = Visitor::connect(address).await?;
            visitor.ask(&request, HELLO).await
        });
    }
    all_of(visiting).await
}

/// A document, and then the files that it names.
async fn page(door: &Door, files: &Arc<Files>) -> anyhow::Result<()> {
    let mut first = Visitor::connect(door.address).await?;
    let (request, body) = &files.document;
    first.ask(request, body).await?;
    let left: VecDeque<usize> = (0..files.named.len()).collect();
    let left = Arc::new(Mutex::new(left));
    let mut lanes = vec![Some(first)];
    lanes.resize_with(LANES, || None);
    let mut loading = JoinSet::new();
    for lane in lanes {
        let (files, left, address) = (files.clone(), left.clone(), door.address);
        loading.spawn(async move {
            let mut visitor = match lane {
                Some(visitor) => visitor,
                None => Visitor::connect(address).await?,
            };
            loop {
                let next = left
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .pop_front();
                let Some((request, body)) = next.and_then(|next| files.named.get(next)) else {
                    return Ok(());
                };
                visitor.ask(request, body).await?;
            }
        });
    }
    all_of(loading).await
}

async fn all_of(mut tasks: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// What a page is made of: requests, and the bodies of their answers.
struct Files {
    document: (Vec<u8>, Vec<u8>),
    named: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    fn of(door: &Door) -> Self {
        let content = Content::new();
        let file = |size: u64| {
            let request = door.get(&format!("/bytes/{size}"));
            (request, content.at(0, size).to_vec())
        };
        Self {
            document: file(16_000),
            // Each has a size of its own, so that none is taken for another.
            named: (0..FILES).map(|number| file(2000 + 100 * number)).collect(),
        }
    }
}

const FILES: u64 = 60;

/// Connections of a browser to one host.
const LANES: usize = 6;

const BURST: usize = 100;

const PATIENCE: Duration = Duration::from_secs(30);
