//! The compiler, and the program of its LLVM that merges what trained programs have counted.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// What a build with training needs.
pub struct Toolchain {
    /// The target that the compiler compiles for where nobody asks for another.
    pub target: String,
    profdata: PathBuf,
}

impl Toolchain {
    /// Looks for it.
    ///
    /// # Errors
    /// Where there is no `llvm-profdata` of the compiler's LLVM, and how to install it.
    pub fn find() -> anyhow::Result<Self> {
        let about = told_by(&rustc(), &["-vV"])?;
        let field = |name: &str| {
            let mut lines = about.lines();
            let value = lines.find_map(|line| line.strip_prefix(name));
            value.with_context(|| format!("rustc -vV tells no {name}"))
        };
        let target = field("host: ")?.to_owned();
        let llvm = major(field("LLVM version: ")?);
        let profdata = match std::env::var_os("LLVM_PROFDATA") {
            // Not asked for its version: it says itself what it cannot read, and so does the compiler.
            Some(chosen) => chosen.into(),
            None => fitting(llvm, &target)?,
        };
        Ok(Self { target, profdata })
    }

    /// Merges what programs have counted into one profile.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub fn merge(&self, counts: &[PathBuf], profile: &Path) -> anyhow::Result<()> {
        let mut merge = Command::new(&self.profdata);
        merge.args(["merge", "-o"]).arg(profile).args(counts);
        let status = merge.status().context("cannot run llvm-profdata")?;
        ensure!(status.success(), "llvm-profdata cannot merge the counts");
        Ok(())
    }
}

/// The program of the compiler's LLVM: rustup's, or the system's.
fn fitting(llvm: &str, target: &str) -> anyhow::Result<PathBuf> {
    let sysroot = told_by(&rustc(), &["--print", "sysroot"])?;
    let with_rustup = Path::new(sysroot.trim()).join("lib/rustlib");
    let with_rustup = with_rustup.join(target).join("bin/llvm-profdata");
    let system_s = format!("llvm-profdata-{llvm}");
    let mut places = [with_rustup, system_s.into(), "llvm-profdata".into()].into_iter();
    places.find(|place| is_of(llvm, place)).with_context(|| {
        format!(
            "there is no llvm-profdata of LLVM {llvm}, which this Rust compiler has: install it with \
             `rustup component add llvm-tools`, or name one that reads the same counts in LLVM_PROFDATA"
        )
    })
}

fn rustc() -> PathBuf {
    let rustc = std::env::var_os("RUSTC");
    rustc.unwrap_or_else(|| OsString::from("rustc")).into()
}

fn is_of(llvm: &str, profdata: &Path) -> bool {
    told_by(profdata, &["--version"]).is_ok_and(|told| {
        let version = told.split_once("LLVM version ");
        version.is_some_and(|(_, version)| major(version) == llvm)
    })
}

/// The first number of a version.
fn major(version: &str) -> &str {
    let digits = |c: char| !c.is_ascii_digit();
    version.split(digits).next().unwrap_or_default()
}

/// What a program prints.
fn told_by(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let shown = program.display();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let ended = command
        .output()
        .with_context(|| format!("cannot run {shown}"))?;
    ensure!(ended.status.success(), "{shown} failed");
    Ok(String::from_utf8(ended.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn knows_the_first_number_of_a_version() {
        assert_eq!(major("22.1.2"), "22");
        assert_eq!(major("19.1.7-rust-1.86\n"), "19");
        assert_eq!(major("no number"), "");
    }
}
