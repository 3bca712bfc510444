//! Packets that are lost on the tunnel's way, in a network namespace of its own.

use std::process::ExitCode;
use std::time::Duration;

use tokio::process::Command;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::check::{Findings, Tier};
use crate::ledger::{Ending, Ledger};
use crate::load::Load;
use crate::origin::Origin;
use crate::scene::{ClientProgram, HOST, RelayProgram};
use crate::toxic::{Toxic, Weather};
use crate::visitor::{Ask, Door};

/// Where some of the tunnel's packets are lost, requests take longer, and that is all.
pub async fn check(tier: Tier) -> Findings {
    let name = format!("ggrok-torture-{}", std::process::id());
    if !succeeds("nft", &["--version"]).await || !succeeds("ip", &["netns", "add", &name]).await {
        let why = "not run: it needs nft, and leave to make a network namespace (ip netns add)";
        return Findings::new(tier).tell(why);
    }
    let namespace = ["netns", "exec", &name];
    let up = [&namespace[..], &["ip", "link", "set", "lo", "up"]].concat();
    let mut findings = Findings::new(tier).hold("loopback is up", succeeds("ip", &up).await);
    let mut without = 0.0;
    for percent in [0, 1, 5, 20] {
        let seen = inside(&namespace, percent, tier).await;
        findings = findings.count(&format!("violations at {percent} %"), seen.violations, 0);
        if percent <= 5 {
            findings = findings.count(&format!("connections at {percent} %"), seen.connections, 1);
        }
        if percent == 0 {
            without = seen.rate;
        }
        let lossy = percent > 0;
        let lost = format!("{} packets lost at {percent} %", seen.dropped);
        findings = findings.hold(&lost, lossy == (seen.dropped > 0.0));
        let share = seen.rate / without;
        let what = format!("goodput at {percent} % of that without loss");
        findings = match percent {
            5 => findings.least(&what, share, 0.3),
            0 => findings.tell(format!("without loss {without:.2} MB/s")),
            _ => findings.tell(format!("{what} {share:.2}")),
        };
    }
    succeeds("ip", &["netns", "del", &name]).await;
    findings
}

struct Seen {
    violations: usize,
    connections: usize,
    rate: f64,
    dropped: f64,
}

/// Runs this program in the namespace.
async fn inside(namespace: &[&str], percent: u32, tier: Tier) -> Seen {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("ip");
    command.args(namespace).arg(this).kill_on_drop(true);
    let seconds = tier.of(3, 30);
    command.env(LOSS, format!("{percent} {seconds}"));
    let told = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&told.stdout);
    let numbers: Vec<f64> = text.split_whitespace().flat_map(str::parse).collect();
    let [violations, connections, rate, dropped] = numbers[..] else {
        let why = String::from_utf8_lossy(&told.stderr);
        panic!("inside the namespace: {text} {why}");
    };
    let [violations, connections] = [violations, connections].map(|count| count as usize);
    Seen {
        violations,
        connections,
        rate,
        dropped,
    }
}

async fn succeeds(program: &str, args: &[&str]) -> bool {
    let told = Command::new(program).args(args).output().await;
    told.is_ok_and(|told| told.status.success())
}

/// The variable by which this process is told that it is in the namespace: percent, and seconds.
const LOSS: &str = "GGROK_TORTURE_LOSS";

/// Whether this process is the part in the namespace: then what to do.
pub fn wanted() -> Option<(String, u64)> {
    let told = std::env::var(LOSS).ok()?;
    let (percent, seconds) = told.split_once(' ')?;
    Some((percent.to_owned(), seconds.parse().ok()?))
}

/// Loses so many of a hundred packets of the tunnel, and prints what came of it: violations,
/// connections of the client, MB/s, packets lost.
pub fn play(percent: &str, seconds: u64) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(LocalSet::new().run_until(lossy(percent, seconds)));
    Ok(ExitCode::SUCCESS)
}

async fn lossy(percent: &str, seconds: u64) {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let origin = Origin::start(ledger.clone()).await;
    let relay = RelayProgram::start(&directory, &[]).await;
    let toxic = Toxic::before(relay.address).await;
    // A link of 8 Mbit/s, that the loss is to be compared with.
    toxic.turn(Weather::Open {
        delay: Duration::from_millis(5),
        rate: Some(1_000_000),
    });
    let port = toxic.address.port().to_string();
    if percent != "0" {
        let table =
            "add table ip t; add chain ip t c { type filter hook input priority 0; }".to_owned();
        let drops = ["dport", "sport"].map(|side| {
            format!(
                "; add rule ip t c tcp {side} {port} numgen random mod 100 < {percent} counter drop"
            )
        });
        let rules = table + &drops.concat();
        assert!(
            succeeds("nft", &[&rules]).await,
            "nft is missing or refuses"
        );
    }
    let (way, local) = (toxic.address, origin.address);
    let client = ClientProgram::start(&directory, way, HOST, local, "ggrok.v2").await;
    let door = Door {
        address: relay.address,
        host: HOST.to_owned(),
    };
    let load = Load::start(&door, &ledger, 20);
    sleep(Duration::from_secs(seconds)).await;
    load.finish().await;
    let bytes = 5_000_000;
    let asked = Instant::now();
    let ending = door.ask(&ledger, Ask::get(bytes)).await;
    let rate = bytes as f64 / 1e6 / asked.elapsed().as_secs_f64();
    assert_eq!(ending, Ending::Whole);
    ledger.read_relay_log(&relay.log());
    ledger.read_client_log(&client.log());
    let connections = relay.log().matches("a client registered").count();
    let violations = ledger.violations().len();
    println!("{violations} {connections} {rate} {}", dropped().await);
}

/// How many packets were lost.
async fn dropped() -> u64 {
    let listed = Command::new("nft").args(["list", "ruleset"]).output().await;
    let listed = String::from_utf8(listed.map(|told| told.stdout).unwrap_or_default());
    let listed = listed.unwrap_or_default();
    let counted = listed.split("counter packets ").skip(1);
    let counts = counted.filter_map(|behind| behind.split(' ').next()?.parse::<u64>().ok());
    counts.sum()
}
