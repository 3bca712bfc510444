//! The real programs, as child processes.

use std::env;
use std::path::PathBuf;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::PATIENCE;

/// A running program. It is killed when this is dropped.
pub struct Program {
    child: Child,
    output: Option<Lines<BufReader<Box<dyn AsyncRead + Send + Unpin>>>>,
}

impl Program {
    /// One of ggrok's own programs, with no setting of the machine's.
    pub fn command(name: &str) -> Command {
        let mut command = Command::new(path(name));
        for (key, _) in env::vars_os() {
            let key = key.to_string_lossy().into_owned();
            if key.starts_with("GGROK_") || key.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(key);
            }
        }
        command.env_remove("PORT").env_remove("DYNO");
        command.env("GGROK_CONFIG", "/nonexistent/ggrok.toml");
        command
    }

    /// Starts a program whose standard output is read line by line.
    pub fn start(command: &mut Command) -> Self {
        let mut child = spawn(command.stdout(Stdio::piped()));
        let stdout = child.stdout.take().unwrap();
        Self::reading(child, Box::new(stdout))
    }

    /// Starts a program whose standard error is read line by line.
    pub fn start_with_stderr(command: &mut Command) -> Self {
        let mut child = spawn(command.stderr(Stdio::piped()));
        let stderr = child.stderr.take().unwrap();
        Self::reading(child, Box::new(stderr))
    }

    fn reading(child: Child, output: Box<dyn AsyncRead + Send + Unpin>) -> Self {
        let output = Some(BufReader::new(output).lines());
        Self { child, output }
    }

    /// Closes our end of the output that is read.
    pub fn close_output(&mut self) {
        self.output = None;
    }

    /// The next line of output that has this text in it.
    pub async fn line_with(&mut self, text: &str) -> String {
        let lines = self.output.as_mut().expect("the output was closed");
        let reading = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains(text) {
                    return line;
                }
            }
            panic!("the program ended without a line with {text:?}")
        };
        let line = timeout(PATIENCE, reading).await;
        line.unwrap_or_else(|_| panic!("no line with {text:?} in time"))
    }

    /// Sends a signal by its name, like TERM.
    pub async fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.await.unwrap().success());
    }

    /// Waits until the program has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        self.ended_within(PATIENCE).await
    }

    /// Waits so long until the program has ended.
    pub async fn ended_within(&mut self, patience: Duration) -> ExitStatus {
        let ended = timeout(patience, self.child.wait()).await;
        ended.expect("the program did not end").unwrap()
    }

    /// The number of its open files.
    pub fn open_files(&self) -> usize {
        let id = self.id();
        std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
    }

    /// All that it still says, until it ends.
    pub async fn rest(&mut self) -> String {
        let lines = self.output.as_mut().expect("the output was closed");
        let reading = async {
            let mut rest = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                rest.push_str(&line);
                rest.push('\n');
            }
            rest
        };
        let rest = timeout(PATIENCE, reading).await;
        rest.expect("the program did not end")
    }

    /// Its number, by which the system knows it.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the program has ended")
    }

    /// The time for which it had the processor, in hundredths of a second.
    pub fn processor_time(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // Behind the name, which is in brackets: the 14th field of proc(5) and the one after it.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields = fields.split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// The KiB of memory that are its own and not swapped out.
    pub fn memory(&self) -> usize {
        let id = self.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let size = line.and_then(|line| line.split_whitespace().nth(1));
        size.unwrap().parse().unwrap()
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let spawned = command.spawn();
    spawned.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

/// Runs a program to its end, and returns its exit code, standard output and standard error.
pub async fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let Output {
        status,
        stdout,
        stderr,
    } = timeout(PATIENCE, running)
        .await
        .expect("it did not end")
        .unwrap();
    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// Whether a program that a test needs is there. Where it is missing, the test says so; in CI it
/// has to be there.
pub fn installed(program: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).any(|directory| directory.join(program).exists());
    assert!(
        found || env::var_os("CI").is_none(),
        "{program} is not installed"
    );
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// `cargo test --workspace` builds the programs beside the tests, which are in a directory of their
/// own there.
fn path(name: &str) -> PathBuf {
    let tests = env::current_exe().unwrap();
    let mut directory = tests.parent().unwrap();
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap();
    }
    let path = directory.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "{} is not built: run cargo test --workspace",
        path.display()
    );
    path
}
