//! A real browser that opens pages.
//!
//! Traffic stays on loopback; only the npm packages may come from their registry, once a lock file.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use super::installed;

/// What it takes to open a page.
pub struct Browser {
    chromium: PathBuf,
    /// The installed npm packages.
    pub modules: PathBuf,
}

impl Browser {
    /// Finds the programs and installs the npm packages. `None` where a program is missing.
    pub async fn find() -> Option<Self> {
        if !installed("node") || !installed("npm") {
            return None;
        }
        let chromium = chromium()?;
        let modules = install().await;
        Some(Self { chromium, modules })
    }

    /// Opens a page with a fresh profile and returns what happened, after nothing went wrong.
    pub async fn visit(&self, page: Page<'_>) -> Value {
        let seen = self.look(page, false).await;
        for problems in ["errors", "failed"] {
            assert_eq!(seen[problems].as_array().unwrap().len(), 0, "{seen:#}");
        }
        seen
    }

    /// Opens a page with a fresh profile and returns what happened. A page of somebody else's may
    /// have errors of its own, which are tolerated on demand.
    pub async fn look(&self, page: Page<'_>, tolerant: bool) -> Value {
        let home = TempDir::new().unwrap();
        let visit = json!({
            "chromium": self.chromium,
            "profile": home.path().join("profile"),
            "url": page.url,
            "until": page.until,
            "file": page.edited,
            "hosts": page.hosts,
            "tolerant": tolerant,
            "login": page.login.map(|(username, password)| {
                json!({ "username": username, "password": password })
            }),
        });
        let mut command = Command::new("node");
        command
            .arg(committed("visit.mjs"))
            .arg(visit.to_string())
            .env("HOME", home.path())
            .env("NODE_PATH", &self.modules);
        let printed = output(&mut command, VISIT).await;
        serde_json::from_str(&printed).unwrap()
    }
}

/// What to open, and when it is there.
pub struct Page<'a> {
    pub url: &'a str,
    /// The element that shows that the page has finished.
    pub until: &'a str,
    /// A file to edit when it has. The page has to show that.
    pub edited: Option<&'a Path>,
    /// Names that the browser finds on loopback.
    pub hosts: &'a [&'a str],
    pub login: Option<(&'a str, &'a str)>,
}

impl<'a> Page<'a> {
    /// A page that says by itself when it has finished.
    pub const fn new(url: &'a str) -> Self {
        Self {
            url,
            until: "[data-state=done]",
            edited: None,
            hosts: &[],
            login: None,
        }
    }
}

/// How long a visit may take. The script gives up earlier, and can say why.
const VISIT: Duration = Duration::from_secs(180);

/// How long npm may take to fetch some 50 MB.
const INSTALL: Duration = Duration::from_secs(300);

fn chromium() -> Option<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = env::split_paths(&paths)
        .flat_map(|directory| names.map(|name| directory.join(name)))
        .find(|file| file.is_file());
    if found.is_none() {
        installed(names[0]);
    }
    found
}

/// Installs the npm packages of the lock file where nobody has, and returns their folder.
async fn install() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = fs::read(committed("package-lock.json")).unwrap();
    let packages = target.join(format!("npm-{:x}", Sha256::digest(lock)));
    if !packages.exists() {
        fs::create_dir_all(target).unwrap();
        let fresh = TempDir::new_in(target).unwrap();
        for file in ["package.json", "package-lock.json"] {
            fs::copy(committed(file), fresh.path().join(file)).unwrap();
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .arg("--prefer-offline")
            .current_dir(fresh.path());
        output(&mut npm, INSTALL).await;
        // Fails where another scenario was faster, whose folder is as good.
        fs::rename(fresh.path(), &packages).ok();
    }
    let modules = packages.join("node_modules");
    assert!(modules.exists(), "{} does not exist", modules.display());
    modules
}

/// Runs a program to its end and returns what it printed.
async fn output(command: &mut Command, patience: Duration) -> String {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(patience, running).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} did not end"));
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Something of the browser's scenarios in the source tree.
pub fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("browser")
        .join(name)
}
