//! Visitors who come at a rate, whatever becomes of those before them.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use crate::ledger::Ledger;
use crate::visitor::{Ask, Door};

/// Visitors that come until they are told to stop.
pub struct Load {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Load {
    /// Lets so many come each second: small reads, uploads and slow answers, in turns.
    pub fn start(door: &Door, ledger: &Ledger, rate: u32) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (door, ledger) = (door.clone(), ledger.clone());
        let task = tokio::spawn(async move {
            let mut visitors = JoinSet::new();
            let mut ticks = interval(Duration::from_secs(1) / rate);
            let mut asks = MIX.iter().cycle();
            loop {
                tokio::select! {
                    _ = &mut stopped => break,
                    Some(_) = visitors.join_next() => {}
                    _ = ticks.tick() => {
                        let (door, ledger) = (door.clone(), ledger.clone());
                        let ask = *asks.next().expect("a cycle has no end");
                        visitors.spawn(async move { door.ask(&ledger, ask).await });
                    }
                }
            }
            while visitors.join_next().await.is_some() {}
        });
        Self { stop, task }
    }

    /// Lets nobody come any more, and waits until all who came have their ending.
    pub async fn finish(self) {
        self.stop.send(()).ok();
        self.task.await.expect("visitors do not panic");
    }
}

const MIX: [Ask; 6] = [
    Ask::get(1000),
    Ask::post(2000),
    Ask::get(50_000),
    Ask::post(20_000),
    Ask::slow(5000, Duration::from_millis(300)),
    Ask::get(0),
];
