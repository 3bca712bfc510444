//! The tests of the Python library requests, against httpbin and against the same through the tunnel.

// One of its packages has no build for other systems.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Published, Suites, printed, script};

#[tokio::test]
async fn an_http_clients_tests_end_the_same_through_the_tunnel() {
    let Some(suites) = Suites::find().await else {
        return;
    };
    let (_httpbin, address) = suites.httpbin().await;
    let mut published = Published::nothing().await;
    published.show(address).await;
    // One test says that it calls this host.
    published.show_at("httpbin.org", address).await;

    let direct = run(&suites, address).await;
    let through = run(&suites, published.relay.address).await;
    println!("direct: {}", counts(&direct));
    println!("through: {}", counts(&through));
    assert_eq!(direct.len(), 198);
    let known: Outcomes = EXPECTED
        .map(|(test, outcome)| (test.into(), outcome.into()))
        .into();
    assert_eq!(through.len(), direct.len());
    for (test, outcome) in &direct {
        assert_ne!(outcome, "failed", "{test}");
        let expected = known.get(test).unwrap_or(outcome);
        assert_eq!(&through[test], expected, "{test}");
    }
}

/// Tests that have to end otherwise through a tunnel, and how.
const EXPECTED: [(&str, &str); 1] = [
    // Credentials for a proxy are for the relay, and end there (RFC 9110, section 11.7.2).
    (
        "tests/test_requests.py::TestRequests::test_proxy_authorization_preserved_on_request",
        "failed",
    ),
];

type Outcomes = BTreeMap<String, String>;

/// How long the tests may take.
const PATIENCE: Duration = Duration::from_secs(300);

async fn run(suites: &Suites, httpbin: SocketAddr) -> Outcomes {
    let folder = TempDir::new().unwrap();
    let outcomes = folder.path().join("outcomes.json");
    let mut python = suites.python();
    python
        // What has failed is in the outcomes; the first run may have that too.
        .args(["-c", "import pytest, sys; sys.exit(pytest.main() > 1)"])
        .args(["tests", "--quiet", "--tb=short"])
        .args(["-p", "no:cacheprovider", "-p", "httpbin_elsewhere"])
        .current_dir(suites.requests())
        .env("HTTPBIN_URL", format!("http://{httpbin}"))
        .env("OUTCOMES", &outcomes)
        .env("PYTHONPATH", script("."))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let report = printed(&mut python, PATIENCE).await;
    println!("{report}");
    serde_json::from_slice(&std::fs::read(outcomes).unwrap()).unwrap()
}

/// How many tests had which outcome.
fn counts(outcomes: &Outcomes) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in outcomes.values() {
        *counts.entry(outcome).or_default() += 1;
    }
    format!("{} tests: {counts:?}", outcomes.len())
}
