//! Both programs warn at their start of secrets that others can read or guess.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::process::Command;

use crate::support::{Program, Relay, RelayProgram, output};

/// A token that nobody guesses.
const STRONG: &str = "ggrok_w5Yk1s0cGZ4q8XbTn7uVhRzLpMaEoJd2iKfQxU3yB6A";

/// Warnings of a relay until it listens, as an operator sees them by default.
async fn of_relay(change: impl FnOnce(&mut Command)) -> Vec<String> {
    let mut relay = RelayProgram::start(change).await;
    relay.program.signal("TERM").await;
    relay.program.rest().await;
    let mut said = relay.said;
    // Of the machine, and not of a setting.
    said.retain(|line| !line.contains("open files"));
    said
}

/// A file with this mode.
fn file(folder: &Path, text: &str, mode: u32) -> String {
    let path = folder.join("file.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn assert_one(warnings: &[String], says: &[&str]) {
    let warnings: Vec<_> = warnings
        .iter()
        .filter(|line| line.contains("WARN"))
        .collect();
    assert_eq!(warnings.len(), 1, "{says:?}: {warnings:?}");
    for text in says {
        assert!(warnings[0].contains(text), "{says:?}: {warnings:?}");
    }
}

#[tokio::test]
async fn a_relay_without_a_fault_in_its_settings_warns_of_nothing() {
    let said = of_relay(|command| {
        command
            .env("GGROK_TOKEN", STRONG)
            .env("GGROK_METRICS_TOKEN", STRONG);
        command.args(["--metrics-listen", "127.0.0.1:0"]);
    })
    .await;
    assert!(!said.concat().contains("WARN"), "{said:?}");
}

#[tokio::test]
async fn a_relay_warns_of_tokens_in_its_arguments() {
    let said = of_relay(|command| {
        command.args(["--token", STRONG]);
    })
    .await;
    assert_one(&said, &["--token", "GGROK_TOKEN", "command line"]);
    assert!(!said.concat().contains(STRONG));
    let said = of_relay(|command| {
        command.env("GGROK_TOKEN", STRONG);
        command.arg(format!("--metrics-token={STRONG}"));
    })
    .await;
    assert_one(&said, &["--metrics-token", "GGROK_METRICS_TOKEN"]);
}

#[tokio::test]
async fn a_relay_warns_of_tokens_that_can_be_guessed() {
    for weak in ["a", "s3cret", "aaaaaaaaaaaaaaaaaaaaaaaa"] {
        let said = of_relay(|command| {
            command.env("GGROK_TOKEN", weak);
        })
        .await;
        assert_one(&said, &["--token", "guessed", "openssl rand"]);
    }
    let said = of_relay(|command| {
        command
            .env("GGROK_TOKEN", STRONG)
            .env("GGROK_METRICS_TOKEN", "m");
    })
    .await;
    assert_one(&said, &["--metrics-token", "guessed"]);
}

#[tokio::test]
async fn a_relay_warns_of_a_file_of_tokens_that_others_can_change_or_read() {
    let folder = tempfile::tempdir().unwrap();
    for (mode, says) in [
        (0o666, "change"),
        (0o620, "change"),
        (0o602, "change"),
        (0o644, "read"),
        (0o640, "read"),
    ] {
        let file = file(folder.path(), "", mode);
        let said = of_relay(|command| {
            command.args(["--tokens-file", &file]);
        })
        .await;
        let mode = format!("mode {mode:o}");
        assert_one(&said, &["--tokens-file", says, &mode, "chmod 600"]);
    }
    let file = file(folder.path(), "", 0o600);
    let said = of_relay(|command| {
        command.args(["--tokens-file", &file]);
    })
    .await;
    assert!(!said.concat().contains("WARN"), "{said:?}");
}

#[tokio::test]
async fn a_relay_warns_of_metrics_that_everybody_reaches() {
    let said = of_relay(|command| {
        command
            .env("GGROK_TOKEN", STRONG)
            .env("GGROK_METRICS_TOKEN", STRONG);
        command.args(["--metrics-listen", "0.0.0.0:0"]);
    })
    .await;
    assert_one(&said, &["--metrics-listen", "0.0.0.0", "without a token"]);
}

#[tokio::test]
async fn a_client_warns_of_secrets_in_its_arguments_and_of_settings_that_others_can_read() {
    let relay = Relay::start().await;
    let server = relay.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let saved = file(folder.path(), "token = \"s3cret\"\n", 0o644);
    let logins = "ana:s3cret";
    for (args, config, says) in [
        (
            &["3000", "--token", STRONG][..],
            "/nonexistent",
            "--token is on the command line",
        ),
        (&["3000", "-apikey", STRONG], "/nonexistent", "GGROK_TOKEN"),
        (
            &["3000", "--basic-auth", logins],
            "/nonexistent",
            "GGROK_BASIC_AUTH",
        ),
        (&["3000"], &saved, "chmod 600"),
    ] {
        let mut command = Program::command("ggrok-client");
        command
            .args(["--server", &server])
            .args(args)
            .env("GGROK_CONFIG", config);
        let mut client = Program::start_with_stderr(&mut command);
        let line = client.line_with("WARN").await;
        assert!(
            line.contains(says) && !line.contains(STRONG),
            "{args:?}: {line}"
        );
        assert!(!line.contains("s3cret"), "{line}");
    }
    let (_, _, said) = output(
        Program::command("ggrok-client")
            .args(["share", "list", "--server", &server, "--token", STRONG]),
    )
    .await;
    assert!(said.contains("--token is on the command line"), "{said}");
}

#[tokio::test]
async fn a_client_without_secrets_in_its_arguments_warns_of_nothing() {
    let relay = Relay::start().await;
    let mut command = Program::command("ggrok-client");
    command.args(["--server", &relay.address.to_string(), "127.0.0.1:1"]);
    command
        .env("GGROK_TOKEN", STRONG)
        .env("GGROK_BASIC_AUTH", "ana:s3cret");
    let mut client = Program::start(&mut command);
    client.line_with("http").await;
    drop(client);
    let mut client = Program::start_with_stderr(&mut command);
    client.signal("TERM").await;
    let said = client.rest().await;
    assert!(
        !said.contains("command line") && !said.contains("chmod"),
        "{said}"
    );
}
