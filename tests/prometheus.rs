//! A real Prometheus behind a mirror: by the API, by its host in a browser, and on the dashboard of the
//! example.

// On other systems a browser is not found on PATH.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    Answer, Browser, Page, Program, RelayProgram, eventually, get, installed, raw,
};

#[tokio::test]
async fn a_prometheus_is_reached_by_its_name_and_by_its_host() {
    if !installed("prometheus") {
        return;
    }
    let Some(browser) = Browser::find().await else {
        return;
    };
    let prometheus = Prometheus::start("ana-home").await;
    let relay = RelayProgram::start(|command| {
        command.args(["--token", "s3cret", "--domain", "tunnel.test"]);
    })
    .await;
    let server = relay.address.to_string();
    let local = prometheus.address.to_string();
    let (_client, url) = client(&[
        "--server",
        &server,
        "--name",
        "prometheus",
        "--local",
        &local,
        "--token",
        "s3cret",
    ])
    .await;
    let port = relay.address.port();
    assert_eq!(url, format!("http://prometheus.tunnel.test:{port}"));

    for query in QUERIES {
        let target = format!("/api/v1/query?query={query}&time={}", prometheus.up_at);
        let direct = get(prometheus.address, &target).await;
        assert_eq!(direct.status(), 200, "{query}: {}", direct.text());
        let mirrored = mirrored(relay.address, &target).await;
        assert_eq!(mirrored.whole(), direct.whole(), "{query}");
    }
    let metrics = mirrored(relay.address, "/metrics").await.whole().unwrap();
    assert!(
        String::from_utf8(metrics)
            .unwrap()
            .contains("\nprometheus_build_info{")
    );

    // Debian's has the older page alone, others the newer.
    let classic = get(prometheus.address, "/classic/graph").await.status() == 200;
    let path = if classic { "/classic/graph" } else { "/graph" };
    let direct = graph(&browser, &format!("http://{}", prometheus.address), path).await;
    let shown = graph(&browser, &url, path).await;
    assert!(direct.len() > 5, "{direct:#?}");
    assert_eq!(shown, direct);
}

/// Opens the page that draws a query, and returns what became of each of its requests.
async fn graph(browser: &Browser, url: &str, path: &str) -> BTreeMap<String, u64> {
    let graph = format!("{url}{path}?g0.expr=up&g0.tab=1");
    let page = Page {
        until: "td:has-text(\"ana-home\")",
        hosts: &["prometheus.tunnel.test"],
        ..Page::new(&graph)
    };
    // Debian's has a script that no browser takes.
    let shown = browser.look(page, true).await;
    assert_eq!(shown["failed"], json!([]));
    let text = shown["text"].as_str().unwrap();
    assert!(
        text.contains("up{") && text.contains("ana-home"),
        "{shown:#}"
    );
    let responses = shown["responses"].as_array().unwrap().iter();
    let path = |answer: &Value| {
        let asked = answer["url"].as_str().unwrap().strip_prefix(url).unwrap();
        // The time of the visit.
        asked
            .split("&time=")
            .flat_map(|part| part.split("_="))
            .next()
            .unwrap()
            .to_owned()
    };
    responses
        .map(|answer| (path(answer), answer["status"].as_u64().unwrap()))
        .collect()
}

/// What a query may hold, by its odd characters.
const QUERIES: &[&str] = &[
    "up",
    "up{job=~%22.*-home%22,instance!=''}",
    "up{job=%22ana-home%22}*2%5E3-(-1)",
    "vector(1)%2Bvector(2)",
    "{__name__=~'up|down',job!~%22%5B%5Ea%5D.*%22}[5s:1s]",
    "label_replace(up,%22odd%22,%22%C3%BC%20$1:/?@%26=%2B%23,%22,%22job%22,%22(.*)%22)",
];

#[tokio::test]
async fn a_dashboard_shows_each_user_the_prometheus_of_that_user_alone() {
    if !installed("prometheus") {
        return;
    }
    let Some(browser) = Browser::find().await else {
        return;
    };
    let (ana, ben) = tokio::join!(Prometheus::start("ana-home"), Prometheus::start("ben-home"));
    let mut dashboard = Program::start(
        Program::command("examples/dashboard")
            .env("USERS", "ana:s3cret-a,ben:s3cret-b")
            .env("PORT", "0"),
    );
    let line = dashboard.line_with("Dashboard on ").await;
    let url = line.strip_prefix("Dashboard on ").unwrap();
    let address: SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();

    let empty = look(&browser, url, "ana").await;
    assert!(text(&empty).contains("not connected"), "{empty:#}");

    // Both under the same name, each in a dialect of its own.
    let remote = format!("ws://{address}/tunnels/mirror");
    let mut clients = Vec::new();
    for (prometheus, key, dialect) in [
        (&ana, "s3cret-a", "auto"),
        (&ben, "s3cret-b", "magic-mirror"),
    ] {
        let local = format!("http://{}", prometheus.address);
        let (client, _) = client(&[
            "--remote",
            &remote,
            "--name",
            "prometheus",
            "--local",
            &local,
            "--apikey",
            key,
            "--dialect",
            dialect,
        ])
        .await;
        clients.push(client);
    }
    for (user, theirs, others) in [("ana", &ana, &ben), ("ben", &ben, &ana)] {
        let shown = look(&browser, url, user).await;
        let page = text(&shown);
        assert!(page.contains(&theirs.job) && page.contains("up"), "{page}");
        assert!(page.contains(&theirs.address.to_string()), "{page}");
        assert!(
            page.contains(&format!("samples of {}", theirs.job)),
            "{page}"
        );
        assert!(!page.contains(&others.job), "{page}");
        assert!(!page.contains(&others.address.to_string()), "{page}");
    }
    let stranger = get(address, "/").await;
    assert_eq!(stranger.status(), 401);
}

async fn look(browser: &Browser, url: &str, user: &str) -> Value {
    let password = format!("s3cret-{}", &user[..1]);
    let page = Page {
        until: "h1",
        login: Some((user, &password)),
        ..Page::new(url)
    };
    let shown = browser.visit(page).await;
    assert_eq!(shown["title"], format!("Dashboard of {user}"));
    shown
}

fn text(shown: &Value) -> &str {
    shown["text"].as_str().unwrap()
}

/// A client program and the address that it says it has.
async fn client(args: &[&str]) -> (Program, String) {
    let mut client = Program::start(Program::command("ggrok-client").arg("--json").args(args));
    let ready = client.line_with(r#""event":"ready""#).await;
    let ready: Value = serde_json::from_str(&ready).unwrap();
    (client, ready["url"].as_str().unwrap().to_owned())
}

/// What the API answers in the mirror's place.
async fn mirrored(relay: SocketAddr, target: &str) -> Answer {
    let request = format!(
        "GET /_ggrok/mirrors/prometheus{target} HTTP/1.1\r\nHost: {relay}\r\n\
         X-Ggrok-Token: s3cret\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(relay, request).await;
    assert_eq!(answer.status(), 200, "{target}: {answer:?}");
    answer
}

/// A Prometheus that scrapes itself.
struct Prometheus {
    address: SocketAddr,
    job: String,
    /// A time at which it had seen itself, in seconds.
    up_at: f64,
    _program: Program,
    _folder: TempDir,
}

impl Prometheus {
    async fn start(job: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = |name: &str| folder.path().join(name);
        // Its own address is known when it has started.
        let config = json!({
            "global": { "scrape_interval": "1s" },
            "scrape_configs": [{
                "job_name": job,
                "file_sd_configs": [{ "files": [file("targets.json")], "refresh_interval": "1s" }],
            }],
        });
        fs::write(file("config.yml"), config.to_string()).unwrap();
        fs::write(file("targets.json"), "[]").unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg("--web.listen-address=127.0.0.1:0")
            .arg(format!("--config.file={}", file("config.yml").display()))
            .arg(format!("--storage.tsdb.path={}", file("data").display()));
        let mut program = Program::start_with_stderr(&mut command);
        let line = program.line_with("msg=\"Listening on\"").await;
        let (_, address) = line.split_once("address=").unwrap();
        let address: SocketAddr = address.trim().parse().unwrap();
        let targets = json!([{ "targets": [address.to_string()] }]);
        fs::write(file("targets.json"), targets.to_string()).unwrap();
        let up_at = eventually("Prometheus has seen itself", async || up_at(address).await).await;
        Self {
            address,
            job: job.to_owned(),
            up_at,
            _program: program,
            _folder: folder,
        }
    }
}

async fn up_at(prometheus: SocketAddr) -> Option<f64> {
    let answer = get(prometheus, "/api/v1/query?query=up").await;
    let answer: Value = serde_json::from_slice(&answer.whole()?).ok()?;
    let up = &answer["data"]["result"][0]["value"];
    (up[1] == "1").then(|| up[0].as_f64()).flatten()
}
