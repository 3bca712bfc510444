//! Visitors who only want their own answers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{Relay, raw};

/// Visitors of both tenants, who ask until they are told to end.
pub struct Innocents {
    asking: JoinSet<usize>,
    ended: watch::Sender<bool>,
}

impl Innocents {
    pub fn at(relay: &Relay) -> Self {
        let (ended, over) = watch::channel(false);
        let mut asking = JoinSet::new();
        for host in ["app.example", "other.example"] {
            for name in ["a", "b"] {
                asking.spawn(ask(relay.address, host, name, over.clone()));
            }
        }
        Self { asking, ended }
    }

    /// Ends them, and returns how often they asked. Each of them got its own answer each time.
    pub async fn end(self) -> usize {
        self.ended.send(true).unwrap();
        self.asking.join_all().await.into_iter().sum()
    }
}

async fn ask(relay: SocketAddr, host: &str, name: &str, over: watch::Receiver<bool>) -> usize {
    let mut asked = 0;
    while !*over.borrow() {
        let target = format!("/innocent/{host}/{name}/{asked}");
        let head = format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{target}", target.len());
        let answer = raw(relay, request).await;
        assert_eq!(
            (answer.status(), answer.text()),
            (200, &*target),
            "{}",
            answer.head
        );
        asked += 1;
        sleep(PAUSE).await;
    }
    asked
}

/// They leave the machine to others between two requests.
const PAUSE: Duration = Duration::from_millis(5);
