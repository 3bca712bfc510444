//! The Autobahn test suite's WebSocket cases, against a server and against the same through the tunnel.

// One of its packages has no build for other systems.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Published, Suites, printed, script};

#[tokio::test]
async fn websocket_cases_end_the_same_through_the_tunnel() {
    let Some(suites) = Suites::find().await else {
        return;
    };
    let (_echo, address) = suites.echo().await;
    let mut published = Published::nothing().await;
    published.show(address).await;

    let direct = run(&suites, address).await;
    let through = run(&suites, published.relay.address).await;
    println!("direct: {}", counts(&direct));
    println!("through: {}", counts(&through));
    assert!(direct.len() >= 337, "{}", direct.len());
    assert_eq!(through.len(), direct.len());
    for (case, result) in &direct {
        assert_ne!(result["behavior"], "FAILED", "case {case}: {result}");
        assert_eq!(&through[case], result, "case {case}");
    }
}

type Results = BTreeMap<String, Value>;

/// How long the suite may take.
const PATIENCE: Duration = Duration::from_secs(3600);

async fn run(suites: &Suites, address: SocketAddr) -> Results {
    let mut results = Results::new();
    for cases in portions() {
        let mut python = suites.python();
        python
            .arg(script("websocket_cases.py"))
            .arg(address.to_string())
            .args(cases);
        let printed = printed(&mut python, PATIENCE).await;
        let portion: Results = serde_json::from_str(&printed).unwrap();
        results.extend(portion);
    }
    results
}

/// All of sections 1 to 10. Of the compression's 216 cases, which take long and differ in the sizes
/// of messages alone, the first three of each kind; all of them on demand, each kind in a run of
/// its own, since the suite's runner does not always survive them together.
fn portions() -> Vec<Vec<String>> {
    let sections = [1, 2, 3, 4, 5, 6, 7, 9, 10].map(|section| format!("{section}.*"));
    let mut portions = vec![sections.to_vec()];
    let kinds = (1..=5).map(|kind| format!("12.{kind}"));
    for kind in kinds.chain((1..=7).map(|kind| format!("13.{kind}"))) {
        if env::var_os("GGROK_ALL_CASES").is_some() {
            portions.push(vec![format!("{kind}.*")]);
        } else {
            portions[0].extend((1..=3).map(|size| format!("{kind}.{size}")));
        }
    }
    portions
}

/// How many cases had which verdict.
fn counts(results: &Results) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for result in results.values() {
        *counts
            .entry(result["behavior"].as_str().unwrap())
            .or_default() += 1;
    }
    format!("{} cases: {counts:?}", results.len())
}
