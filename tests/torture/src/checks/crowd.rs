//! Visitors who say nothing or half of what they have to, and more of them than there are file
//! descriptors.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::PATIENCE;
use crate::check::{Findings, Tier};
use crate::ledger::{Ending, Ledger};
use crate::origin::Origin;
use crate::scene::{ClientProgram, HOST, RelayProgram};
use crate::visitor::{Ask, Door};

/// A relay with few open files left, more visitors than those, and slow and silent ones among them.
pub async fn check(tier: Tier) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let origin = Origin::start(ledger.clone()).await;
    let sockets: usize = tier.of(300, 3000);
    // All come from one address, as many as a whole network would else.
    let flags = ["--idle-timeout", "5s", "--per-address", "10000"];
    let relay = RelayProgram::start(&directory, &flags).await;
    let pid = relay.program.id().to_string();
    let files = (sockets + 96).to_string();
    let limited = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--nofile={files}:{files}")])
        .status()
        .await;
    assert!(limited.unwrap().success(), "prlimit (of util-linux) fails");
    let client =
        ClientProgram::start(&directory, relay.address, HOST, origin.address, "ggrok.v2").await;
    let door = Door {
        address: relay.address,
        host: HOST.to_owned(),
    };
    let memory = relay.program.memory();
    let slow = Crowd::gather(relay.address, sockets).await;
    let (mut worst, mut whole) = (0.0_f64, 0);
    let asked = 100;
    for _ in 0..asked {
        let started = Instant::now();
        let ending = door.ask(&ledger, Ask::get(1000)).await;
        whole += usize::from(ending == Ending::Whole);
        worst = worst.max(started.elapsed().as_secs_f64() * 1e3);
    }
    let grown = relay.program.memory().saturating_sub(memory);
    let reaped = slow.await_end().await.as_secs_f64();

    // More connections than it may have open: it serves again when they are gone.
    let flood = Crowd::gather(relay.address, sockets + 200).await;
    drop(flood);
    let started = Instant::now();
    while door.ask(&ledger, Ask::get(10)).await != Ending::Whole {
        assert!(started.elapsed() < PATIENCE, "it does not recover");
    }
    let recovered = started.elapsed().as_secs_f64();
    ledger.read_client_log(&client.log());
    Findings::new(tier)
        .count("good visitors served among them", whole, asked)
        .count("violations", ledger.violations().len(), 0)
        .most("slowest good visitor ms", worst, 100.0)
        .most("silent ones gone within s, of 5 s", reaped, 7.0)
        .most(
            "KiB a silent connection",
            grown as f64 / sockets as f64,
            40.0,
        )
        .most(
            "recovers from full file descriptors within s",
            recovered,
            5.0,
        )
        .tell(format!("{sockets} silent or half-sent heads"))
}

/// Connections on which nothing whole is said, and since when.
struct Crowd(Vec<(TcpStream, Instant)>);

impl Crowd {
    async fn gather(relay: SocketAddr, sockets: usize) -> Self {
        let mut crowd = Vec::new();
        for number in 0..sockets {
            let connecting = timeout(Duration::from_secs(5), TcpStream::connect(relay)).await;
            let Ok(Ok(mut stream)) = connecting else {
                break;
            };
            if number % 2 == 0 {
                stream.write_all(b"GET / HTTP/1.1\r\nHo").await.ok();
            }
            crowd.push((stream, Instant::now()));
        }
        Self(crowd)
    }

    /// Waits until the relay has closed all of them, and returns how long one was open at most.
    async fn await_end(self) -> Duration {
        let mut longest = Duration::ZERO;
        for (mut stream, since) in self.0 {
            let mut rest = Vec::new();
            let ended = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "a silent connection is never closed");
            longest = longest.max(since.elapsed());
        }
        longest
    }
}
