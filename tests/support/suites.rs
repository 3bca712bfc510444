//! Suites and servers by other people, written in Python.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Program, installed};

/// Where the suites are installed.
pub struct Suites {
    folder: PathBuf,
}

/// How long pip may take to fetch some 15 MB.
const INSTALL: Duration = Duration::from_secs(300);

impl Suites {
    /// Installs the suites where nobody has. `None` where there is no Python for them.
    pub async fn find() -> Option<Self> {
        if !installed("python3") || !is_new_enough().await {
            return None;
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let mut digest = Sha256::new();
        for file in ["install.py", "requirements.txt", "requests.txt"] {
            digest.update(fs::read(script(file)).unwrap());
        }
        let folder = target.join(format!("suites-{:x}", digest.finalize()));
        let mut install = Command::new("python3");
        install.arg(script("install.py")).arg(&folder);
        printed(&mut install, INSTALL).await;
        Some(Self { folder })
    }

    /// Python with the packages.
    pub fn python(&self) -> Command {
        let mut python = Command::new(self.folder.join("environment/bin/python"));
        for (key, _) in env::vars_os() {
            let name = key.to_string_lossy().to_ascii_lowercase();
            if name.ends_with("_proxy") || name.starts_with("pytest_") {
                python.env_remove(key);
            }
        }
        python
    }

    /// The source distribution of requests.
    pub fn requests(&self) -> PathBuf {
        self.folder.join("requests")
    }

    /// Starts httpbin, under a server that streams and keeps connections.
    pub async fn httpbin(&self) -> (Program, SocketAddr) {
        let mut gunicorn = self.python();
        gunicorn
            .args(["-m", "gunicorn", "--bind", "127.0.0.1:0"])
            .args(["--worker-class", "gthread", "--threads", "8"])
            .args(["--no-control-socket", "httpbin:app"]);
        let mut program = Program::start_with_stderr(&mut gunicorn);
        let line = program.line_with("Listening at").await;
        let address = line.split("http://").nth(1).unwrap();
        let address = address.split(' ').next().unwrap().parse().unwrap();
        (program, address)
    }

    /// Starts a WebSocket server that sends back what it gets.
    pub async fn echo(&self) -> (Program, SocketAddr) {
        let mut echo = self.python();
        // It tells of each visitor who broke the rules.
        echo.arg(script("echo.py")).stderr(Stdio::null());
        let mut program = Program::start(&mut echo);
        let line = program.line_with("listening").await;
        let address = line.split(' ').nth(2).unwrap().parse().unwrap();
        (program, address)
    }
}

/// Something of the suites in the source tree.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("suites")
        .join(name)
}

/// Whether the Python of this machine can make an environment, and is as new as the suites want.
async fn is_new_enough() -> bool {
    let checks = "import ensurepip, sys; sys.exit(sys.version_info < (3, 10))";
    let mut python = Command::new("python3");
    let status = python.args(["-c", checks]).stderr(Stdio::null()).status();
    let fine = status.await.unwrap().success();
    assert!(
        fine || env::var_os("CI").is_none(),
        "python3 is older than 3.10, or has no venv"
    );
    if !fine {
        eprintln!("skipped: python3 is older than 3.10, or has no venv");
    }
    fine
}

/// Runs a program to its end, and returns what it printed.
pub async fn printed(command: &mut Command, patience: Duration) -> String {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(patience, running).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} did not end"));
    let output = output.unwrap();
    let text = [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy);
    let Output { status, .. } = output;
    assert!(
        status.success(),
        "{command:?}: {status}: {}",
        text.join("\n")
    );
    String::from_utf8(output.stdout).unwrap()
}
