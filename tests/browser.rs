//! Sites of other people's servers, opened by a real browser through our real programs.

// On other systems a browser is not found on PATH.
#![cfg(target_os = "linux")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{Browser, Page, Program, RelayProgram, committed, get, installed, raw};

#[tokio::test]
async fn shows_a_static_site_in_a_browser() {
    let Some(browser) = Browser::find().await else {
        return;
    };
    if !installed("python3") {
        return;
    }
    let site = static_site();
    let mut server = Program::start(
        Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1"])
            .arg("--directory")
            .arg(site.path())
            .arg("0")
            .stderr(Stdio::null()),
    );
    let line = server.line_with("Serving HTTP").await;
    let tunnel = Tunnel::start(authority_in(&line), &[]).await;

    let files = files(site.path());
    assert_eq!(files.len(), 15, "{files:?}");
    for file in &files {
        let target = format!("/{}", percent_encoded(file));
        let answer = get(tunnel.address, &target).await;
        assert_eq!(answer.status(), 200, "{target}");
        let same = answer.body == fs::read(site.path().join(file)).unwrap();
        assert!(same, "{target} is not the file");
    }

    let seen = browser.visit(Page::new(&tunnel.url)).await;
    assert_eq!(seen["title"], "A static site");
    let text = seen["text"].as_str().unwrap();
    // In capitals, because the style sheet says so.
    assert!(text.contains("GRÜSSE THROUGH THE TUNNEL"), "{text}");
    let digest = Sha256::digest(fs::read(site.path().join("random.bin")).unwrap());
    assert!(text.contains(&format!("{digest:x}")), "{text}");
    assert_eq!(image_widths(&seen), [24, 10, 20, 30, 40, 50, 60, 70, 80]);
    assert_eq!(statuses(&seen, ""), [200; 13]);
}

#[tokio::test]
async fn edits_a_vite_project_in_a_browser() {
    let Some(browser) = Browser::find().await else {
        return;
    };
    let project = vite_project();
    let (_server, tunnel) = vite(&browser, &project, "auto").await;
    let file = project.path().join("hot.js");
    let edited = Some(file.as_path());
    let page = Page {
        edited,
        ..Page::new(&tunnel.url)
    };
    let seen = browser.visit(page).await;
    check_vite_project(&seen);
    // The edit came over a WebSocket through the tunnel, into the page that was there.
    assert_eq!(seen["reloaded"], false);
    let socket = &seen["sockets"][0];
    let url = socket["url"].as_str().unwrap();
    assert!(
        url.starts_with(&format!("ws://{}/", tunnel.address)),
        "{url}"
    );
    assert_eq!(socket["error"], Value::Null);
}

#[tokio::test]
async fn edits_a_vite_project_that_is_told_its_own_host() {
    let Some(browser) = Browser::find().await else {
        return;
    };
    let project = vite_project();
    let settings = project.path().join("vite.config.mjs");
    let tolerant = fs::read_to_string(&settings).unwrap();
    let strict = tolerant.replace("allowedHosts: true", "allowedHosts: []");
    assert_ne!(strict, tolerant);
    fs::write(settings, strict).unwrap();
    let (_server, local) = start_vite(&browser, &project).await;
    let public = ["--host", "app.vite.test"];

    let mut refused = Tunnel::start(&local, &public).await;
    let host = authority_in(&refused.url).to_owned();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    assert_eq!(raw(refused.address, request).await.status(), 403);
    let told = refused.client.line_with("host_refused").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["check"], &told["host"]),
        (&"Vite".into(), &host.into())
    );
    let remedy = told["remedy"].as_str().unwrap();
    assert!(remedy.contains("--host-header rewrite"), "{remedy}");
    drop(refused);

    let flags = [&public[..], &["--host-header", "rewrite"]].concat();
    let tunnel = Tunnel::start(&local, &flags).await;
    let file = project.path().join("hot.js");
    let page = Page {
        edited: Some(file.as_path()),
        hosts: &["app.vite.test"],
        ..Page::new(&tunnel.url)
    };
    let seen = browser.visit(page).await;
    check_vite_project(&seen);
    assert_eq!(seen["reloaded"], false);
    assert_eq!(seen["sockets"][0]["error"], Value::Null);
}

#[tokio::test]
async fn loads_a_vite_project_over_a_dialect_without_websockets() {
    let Some(browser) = Browser::find().await else {
        return;
    };
    let project = vite_project();
    let (_server, tunnel) = vite(&browser, &project, "ggrok").await;
    let seen = browser.visit(Page::new(&tunnel.url)).await;
    check_vite_project(&seen);
    let error = seen["sockets"][0]["error"].as_str().unwrap();
    assert!(error.contains("501"), "{error}");
}

async fn vite(browser: &Browser, project: &TempDir, dialect: &str) -> (Program, Tunnel) {
    let (server, local) = start_vite(browser, project).await;
    let tunnel = Tunnel::start(&local, &["--dialect", dialect]).await;
    (server, tunnel)
}

/// Vite, and its authority.
async fn start_vite(browser: &Browser, project: &TempDir) -> (Program, String) {
    let mut server = Program::start(
        Command::new("node")
            .arg(browser.modules.join("vite/bin/vite.js"))
            .arg(project.path())
            .env("NO_COLOR", "1"),
    );
    let line = server.line_with("Local:").await;
    (server, authority_in(&line).to_owned())
}

fn check_vite_project(seen: &Value) {
    assert_eq!(seen["title"], "A Vite project");
    let value = (1..=MODULES).fold(0, |before, number| (before * 31 + number) % 1_000_003);
    let text = seen["text"].as_str().unwrap();
    let answer = format!("{MODULES} modules make {value}");
    assert!(text.contains(&answer), "{text}");
    assert_eq!(image_widths(seen), [48]);
    assert_eq!(statuses(seen, "/modules/"), [200; MODULES]);
    let all = statuses(seen, "");
    let fine = all.iter().all(|status| [200, 304].contains(status));
    assert!(fine, "{all:?}");
}

/// Modules of the Vite project.
const MODULES: usize = 60;

/// Our two programs before a local server.
struct Tunnel {
    address: SocketAddr,
    url: String,
    _relay: RelayProgram,
    client: Program,
}

impl Tunnel {
    async fn start(local: &str, flags: &[&str]) -> Self {
        let relay = RelayProgram::start(|command| {
            command.arg("--open");
        })
        .await;
        let server = relay.address.to_string();
        let mut client = Program::start(
            Program::command("ggrok-client")
                .args(["--json", "--server", &server, "--local", local])
                .args(flags),
        );
        let ready = client.line_with(r#""event":"ready""#).await;
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let url = ready["url"].as_str().unwrap().to_owned();
        Self {
            address: relay.address,
            url,
            _relay: relay,
            client,
        }
    }
}

/// The authority of the URL in a line.
fn authority_in(line: &str) -> &str {
    let (_, rest) = line.split_once("http://").unwrap();
    rest.split(['/', ')']).next().unwrap()
}

/// A folder with a page, its images, a large file and files that are awkward to name or to carry.
fn static_site() -> TempDir {
    let site = copy(&committed("site"));
    let write = |name: &str, bytes: &[u8]| fs::write(site.path().join(name), bytes).unwrap();
    fs::create_dir(site.path().join("images")).unwrap();
    for number in 1..=8 {
        let width = number * 10;
        let image = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="9"><rect width="{width}" height="9"/></svg>"#
        );
        write(&format!("images/{number}.svg"), image.as_bytes());
    }
    write("random.bin", &random(5_000_000));
    write("empty.txt", b"");
    write("images/caf\u{e9} & 100%?#.txt", b"\0\r\n\xff");
    site
}

/// A Vite project whose modules stand on each other.
fn vite_project() -> TempDir {
    let project = copy(&committed("project"));
    let modules = project.path().join("modules");
    fs::create_dir(&modules).unwrap();
    for number in 1..=MODULES {
        let (import, before) = match number {
            1 => (String::new(), "0"),
            _ => (
                format!(
                    "import {{ value as before }} from \"./{}.js\";\n",
                    number - 1
                ),
                "before",
            ),
        };
        let module =
            format!("{import}export const value = ({before} * 31 + {number}) % 1_000_003;\n");
        fs::write(modules.join(format!("{number}.js")), module).unwrap();
    }
    project
}

/// A copy of a flat folder.
fn copy(folder: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for file in files(folder) {
        fs::copy(folder.join(&file), copy.path().join(&file)).unwrap();
    }
    copy
}

/// All files in a folder and below, by their paths from there.
fn files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            let below = self::files(&entry.path());
            files.extend(below.iter().map(|file| format!("{name}/{file}")));
        } else {
            files.push(name);
        }
    }
    files
}

fn percent_encoded(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Bytes without a pattern, the same in every run.
fn random(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// The natural widths of a page's images, in order. An image that did not load has none.
fn image_widths(seen: &Value) -> Vec<u64> {
    let images = seen["images"].as_array().unwrap();
    let widths = images.iter().map(|image| image["naturalWidth"].as_u64());
    widths.map(Option::unwrap).collect()
}

/// The statuses of all responses whose URL has this text in it.
fn statuses(seen: &Value, text: &str) -> Vec<u64> {
    let responses = seen["responses"].as_array().unwrap().iter();
    responses
        .filter(|response| response["url"].as_str().unwrap().contains(text))
        .map(|response| response["status"].as_u64().unwrap())
        .collect()
}
