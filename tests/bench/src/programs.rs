//! Our own two programs, built as they are released.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

/// A build apart from cargo's usual one.
pub struct Apart<'a> {
    /// The directory that cargo builds in.
    pub directory: &'a Path,
    /// The compiler's target. Where cargo is told of one, flags are for the programs alone, and not for
    /// what builds them.
    pub target: &'a str,
    /// A flag for the compiler.
    pub flag: String,
}

/// Builds them, and returns where they are.
///
/// # Errors
/// Where they do not build.
pub fn build(apart: Option<&Apart<'_>>) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    build.args(["build", "--locked", "--release"]);
    build.args(["-p", "ggrok-server", "-p", "ggrok-client"]);
    build.arg("--message-format=json-render-diagnostics");
    if let Some(apart) = apart {
        build.args(["--target", apart.target, "--target-dir"]);
        build.arg(apart.directory);
        build.env("CARGO_ENCODED_RUSTFLAGS", encoded(&apart.flag));
    }
    // What is released is not built in pieces.
    build.env_remove("CARGO_INCREMENTAL");
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = build.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let built = built.context("cannot run cargo")?;
    ensure!(
        built.status.success(),
        "the programs do not build (they need a C compiler and make)"
    );
    let told = String::from_utf8(built.stdout)?;
    let program = told.lines().find_map(executable);
    let directory = program.as_deref().and_then(Path::parent);
    Ok(directory.context("cargo names no program")?.to_owned())
}

/// The flags that the environment asks for, and one more, as cargo takes flags with spaces in them.
fn encoded(flag: &str) -> String {
    let asked = std::env::var("RUSTFLAGS").unwrap_or_default();
    let flags: Vec<&str> = asked.split_whitespace().chain([flag]).collect();
    flags.join("\u{1f}")
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
