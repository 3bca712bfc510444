//! What the relay counts, as a real Prometheus reads it.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

use ggrok_server::{Access, Metrics};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{
    Answer, Client, Origin, Program, Relay, RelayProgram, Seen, ask, eventually, get, installed,
    output, raw,
};

fn app(seen: &Seen) -> Vec<u8> {
    let status = match seen.head.split(' ').nth(1) {
        Some("/missing") => "404 Not Found",
        _ => "200 OK",
    };
    format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nhello").into_bytes()
}

async fn measured(metrics: Option<&str>) -> Relay {
    Relay::with(|config| config.metrics_access = metrics.map(Access::token)).await
}

/// The page of the metrics, as a scraper with this token sees it.
async fn page(relay: SocketAddr, token: &str) -> Answer {
    let request = format!(
        "GET /_ggrok/metrics HTTP/1.1\r\nHost: {relay}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    raw(relay, request).await
}

/// The value of a series.
async fn value(relay: &Relay, series: &str) -> Option<f64> {
    let page = page(relay.address, "m3trics").await;
    assert_eq!(page.status(), 200, "{}", page.text());
    let lines = page.text().lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    values.next().map(|value| value.parse().unwrap())
}

async fn becomes(relay: &Relay, series: &str, expected: f64) {
    eventually(&format!("{series} is {expected}"), async || {
        (value(relay, series).await == Some(expected)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn shows_its_metrics_to_whoever_has_their_token_alone() {
    let silent = measured(None).await;
    let answer = page(silent.address, "m3trics").await;
    assert_eq!(
        (answer.status(), answer.error()),
        (404, Some("unknown-page"))
    );
    let relay = measured(Some("m3trics")).await;
    for (token, status) in [("m3trics", 200), ("wrong", 401), ("", 401)] {
        assert_eq!(page(relay.address, token).await.status(), status, "{token}");
    }
    assert_eq!(get(relay.address, "/_ggrok/metrics").await.status(), 401);
}

#[tokio::test]
async fn counts_calls_by_what_became_of_them() {
    let relay = measured(Some("m3trics")).await;
    let origin = Origin::start(app).await;
    becomes(&relay, r#"ggrok_tunnels{dialect="ggrok.v2"}"#, 0.0).await;
    let client = Client::start(&relay, &origin).await;
    becomes(&relay, r#"ggrok_tunnels{dialect="ggrok.v2"}"#, 1.0).await;

    let host = relay.address;
    let post = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"
    );
    assert_eq!(raw(host, post).await.status(), 200);
    assert_eq!(get(host, "/missing").await.status(), 404);
    let nobody = "GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(host, nobody).await.status(), 404);
    let bad = "GET / HTTP/1.1\r\nHost: a b\r\n\r\n";
    assert_eq!(raw(host, bad).await.status(), 400);

    for (series, expected) in [
        (r#"ggrok_calls_total{outcome="answered",status="2xx"}"#, 1.0),
        (r#"ggrok_calls_total{outcome="answered",status="4xx"}"#, 1.0),
        (
            r#"ggrok_calls_total{outcome="unknown-host",status="4xx"}"#,
            1.0,
        ),
        (
            r#"ggrok_refusals_total{at="request",reason="bad-host"}"#,
            1.0,
        ),
        (r#"ggrok_call_duration_seconds_count{hop="tunnel"}"#, 2.0),
        (r#"ggrok_call_duration_seconds_count{hop="head"}"#, 2.0),
        (r#"ggrok_call_duration_seconds_count{hop="whole"}"#, 3.0),
        ("ggrok_received_bytes_total", 3.0),
        ("ggrok_calls_in_flight", 0.0),
        // The scraper's own.
        ("ggrok_connections", 1.0),
        ("ggrok_ready", 1.0),
    ] {
        becomes(&relay, series, expected).await;
    }
    client.stop().await.unwrap();
    becomes(&relay, r#"ggrok_tunnels{dialect="ggrok.v2"}"#, 0.0).await;
}

#[tokio::test]
async fn counts_what_is_refused_at_its_own_pages() {
    let relay = Relay::with(|config| {
        config.metrics_access = Some(Access::token("m3trics"));
        config.access = Access::token("s3cret");
    })
    .await;
    let host = relay.address;
    let none = "0123456789abcdef";
    for (line, token, status) in [
        ("GET /_ggrok/shares", "guess", 401),
        ("GET /_ggrok/mirrors", "guess", 401),
        (&format!("DELETE /_ggrok/shares/{none}"), "s3cret", 404),
        (&format!("GET /_ggrok/share/{none}.AAAA"), "", 410),
        ("GET /_ggrok/mirrors/nobody", "s3cret", 404),
        ("DELETE /_ggrok/mirrors/nobody", "s3cret", 404),
        ("GET /_ggrok/nothing", "", 404),
        ("PUT /_ggrok/health", "", 405),
    ] {
        assert_eq!(ask(host, line, token).await.status(), status, "{line}");
    }
    for (reason, expected) in [
        ("wrong-token", 2.0),
        ("unknown-link", 1.0),
        ("link-over", 1.0),
        ("unknown-mirror", 2.0),
        ("unknown-page", 1.0),
        ("method-not-allowed", 1.0),
    ] {
        let series = format!(r#"ggrok_refusals_total{{at="api",reason="{reason}"}}"#);
        becomes(&relay, &series, expected).await;
    }
}

#[tokio::test]
async fn counts_idle_connections_that_give_way_to_others_of_their_address() {
    let metrics = Metrics::new();
    let relay = Relay::with(|config| {
        config.metrics = metrics.clone();
        config.per_address = 1;
    })
    .await;
    let connect = async || TcpStream::connect(relay.address).await.unwrap();
    let mut crowd = vec![connect().await];
    for _ in 0..80 {
        crowd.push(connect().await);
    }
    eventually("all are counted", async || {
        let evicted = "\nggrok_evicted_connections_total{reason=\"idle\"} 80\n";
        metrics.text().contains(evicted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn counts_an_answer_of_its_own_for_none_of_the_apps() {
    let relay = measured(Some("m3trics")).await;
    let origin = Origin::start(app).await;
    let _client = Client::start(&relay, &origin).await;
    let request = format!(
        "OPTIONS / HTTP/1.1\r\nHost: {}\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n",
        relay.address
    );
    assert_eq!(raw(relay.address, request).await.status(), 204);
    let own = r#"ggrok_calls_total{outcome="max-forwards",status="2xx"}"#;
    becomes(&relay, own, 1.0).await;
    let apps = r#"ggrok_calls_total{outcome="answered",status="2xx"}"#;
    becomes(&relay, apps, 0.0).await;
    becomes(
        &relay,
        r#"ggrok_call_duration_seconds_count{hop="head"}"#,
        0.0,
    )
    .await;
}

#[tokio::test]
async fn counts_what_is_open_and_visitors_who_leave() {
    let relay = measured(Some("m3trics")).await;
    let origin = Origin::start(|_: &Seen| Vec::new()).await;
    let _client = Client::start(&relay, &origin).await;
    let mut visitor = TcpStream::connect(relay.address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", relay.address);
    visitor.write_all(request.as_bytes()).await.unwrap();
    becomes(&relay, "ggrok_calls_in_flight", 1.0).await;
    drop(visitor);
    becomes(&relay, "ggrok_calls_in_flight", 0.0).await;
    let left = r#"ggrok_calls_total{outcome="left",status="none"}"#;
    becomes(&relay, left, 1.0).await;
}

/// A relay, with a port for its metrics.
async fn program() -> (RelayProgram, SocketAddr) {
    let mut relay = RelayProgram::unready(|command| {
        command.args(["--open", "--metrics-listen", "127.0.0.1:0"]);
    });
    let line = relay.line_with("serving metrics").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    let metrics = line["address"].as_str().unwrap().parse().unwrap();
    (RelayProgram::ready(relay).await, metrics)
}

#[tokio::test]
async fn is_scraped_by_a_real_prometheus() {
    if !(installed("prometheus") && installed("promtool")) {
        return;
    }
    let (relay, metrics) = program().await;
    // So that families that begin with their first sample are there.
    let nobody = "GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n";
    raw(relay.address, nobody).await;
    raw(relay.address, "GET / HTTP/1.1\r\n\r\n").await;

    let exposition = get(metrics, "/_ggrok/metrics").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics.txt");
    fs::write(&file, exposition.whole().unwrap()).unwrap();
    let check = format!("promtool check metrics < {}", file.display());
    let (code, said, complaints) = output(Command::new("sh").args(["-c", &check])).await;
    assert_eq!((code, said + &complaints), (Some(0), String::new()));

    let prometheus = scraping(&folder, metrics).await;
    eventually("it was scraped", async || {
        let up = query(prometheus.address, "up").await;
        (up == ["1"]).then_some(())
    })
    .await;
    let calls = "ggrok_calls_total{outcome=%22unknown-host%22}";
    assert_eq!(query(prometheus.address, calls).await, ["1"]);
    for name in dashboard_metrics() {
        let found = query(prometheus.address, &format!("count({name})")).await;
        assert_eq!(found.len(), 1, "the dashboard asks for {name}");
    }
}

/// A Prometheus that scrapes one target.
struct Scraper {
    address: SocketAddr,
    _program: Program,
}

async fn scraping(folder: &tempfile::TempDir, target: SocketAddr) -> Scraper {
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: ggrok\n  metrics_path: /_ggrok/metrics\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg("--web.listen-address=127.0.0.1:0");
    let mut program = Program::start_with_stderr(&mut command);
    let line = program.line_with("msg=\"Listening on\"").await;
    let (_, address) = line.split_once("address=").unwrap();
    let address = address.trim().parse().unwrap();
    Scraper {
        address,
        _program: program,
    }
}

/// The values of a query.
async fn query(prometheus: SocketAddr, query: &str) -> Vec<String> {
    let answer = get(prometheus, &format!("/api/v1/query?query={query}")).await;
    if answer.status() != 200 {
        // It has just started.
        return Vec::new();
    }
    let answer: Value = serde_json::from_slice(&answer.whole().unwrap()).unwrap();
    let found = answer["data"]["result"].as_array().unwrap().iter();
    found
        .map(|series| series["value"][1].as_str().unwrap().to_owned())
        .collect()
}

/// The names of all metrics that the dashboard asks for.
fn dashboard_metrics() -> BTreeSet<String> {
    let dashboard: Value = serde_json::from_str(include_str!("../docs/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queries: Vec<&str> = panels
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    let is_name = |word: &&str| word.starts_with("ggrok_") || word.starts_with("process_");
    let names = queries
        .iter()
        .flat_map(|query| query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        .filter(is_name);
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    assert!(names.len() > 10, "{names:?}");
    names
}

#[tokio::test]
async fn counts_nothing_by_what_a_visitor_says() {
    let relay = measured(Some("m3trics")).await;
    let before = page(relay.address, "m3trics").await.text().lines().count();
    for number in 0..50 {
        let request = format!(
            "M{number} /{number}?{number} HTTP/1.1\r\nHost: h{number}.example\r\nConnection: close\r\n\r\n"
        );
        raw(relay.address, request).await;
    }
    let after = page(relay.address, "m3trics").await;
    let after = after.text().lines().count();
    // One series is new, of unknown hosts, and its family's two lines.
    assert!(after <= before + 3, "{before} lines grew to {after}");
}
