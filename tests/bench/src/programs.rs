//! Our own two programs, built as they are released.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

/// Builds them, and returns where they are.
///
/// # Errors
/// Where they do not build.
pub fn build() -> anyhow::Result<PathBuf> {
    eprintln!(
        "building ggrok-server and ggrok-client as they are released: cargo build --release --features jemalloc (which needs make)"
    );
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    build.args(["build", "--locked", "--release"]);
    build.args(["-p", "ggrok-server", "-p", "ggrok-client"]);
    build.args(["--features", "ggrok-server/jemalloc,ggrok-client/jemalloc"]);
    build.arg("--message-format=json-render-diagnostics");
    // What is released is not built in pieces.
    build.env_remove("CARGO_INCREMENTAL");
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = build.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let built = built.context("cannot run cargo")?;
    ensure!(built.status.success(), "the programs do not build");
    let told = String::from_utf8(built.stdout)?;
    let program = told.lines().find_map(executable);
    let directory = program.as_deref().and_then(Path::parent);
    Ok(directory.context("cargo names no program")?.to_owned())
}

/// The program that a line of cargo's tells of.
fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    Some(PathBuf::from(message.get("executable")?.as_str()?))
}

/// Checks that they are in a directory.
///
/// # Errors
/// Where one is not.
pub fn find(directory: &Path) -> anyhow::Result<PathBuf> {
    for name in ["ggrok-server", "ggrok-client"] {
        let program = directory.join(name);
        ensure!(program.exists(), "there is no {}", program.display());
    }
    Ok(directory.canonicalize()?)
}
