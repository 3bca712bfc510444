//! No secret is ever shown: canaries in every place for one, and a look at all that the programs say.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{Answer, Origin, Program, Seen, eventually, get, output, raw};

/// What every secret has in it.
const CANARY: &str = "c4nary";

/// A secret, by the place where it is.
fn secret(place: &str) -> String {
    format!("{CANARY}-{place}")
}

/// An app that shows its own secrets, and its visitor's.
fn app(seen: &Seen) -> Vec<u8> {
    if seen.head.starts_with("GET /broken") {
        return b"c4nary-broken response\r\n\r\n".to_vec();
    }
    format!(
        "HTTP/1.1 200 OK\r\nSet-Cookie: id={CANARY}-set\r\nX-Secret: {CANARY}-field\r\nContent-Length: 11\r\n\r\n{CANARY}-body"
    )
    .into_bytes()
}

/// A program whose output goes to a file.
struct Watched {
    child: Child,
    output: PathBuf,
}

impl Watched {
    fn start(folder: &Path, name: &str, command: &mut Command) -> Self {
        let output = folder.join(name);
        let file = File::create(&output).unwrap();
        command.stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap();
        Self { child, output }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    /// The arguments that everybody on the machine can see.
    fn arguments(&self) -> String {
        let id = self.child.id().expect("the program has ended");
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap();
        String::from_utf8_lossy(&arguments).replace('\0', " ")
    }

    async fn until(&self, text: &str) {
        eventually(text, async || {
            let said = self.said();
            assert!(!said.contains("ggrok-client: "), "it ended: {said}");
            said.contains(text).then_some(())
        })
        .await;
    }

    async fn end(mut self) -> String {
        let id = self.child.id().unwrap().to_string();
        let kill = Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(kill.await.unwrap().success());
        self.child.wait().await.unwrap();
        self.said()
    }
}

fn clean(what: &str, text: &str) {
    assert!(!text.contains(CANARY), "{what} shows a secret:\n{text}");
}

/// The relay's answer, which is its own and shows nothing.
fn refused(answer: &Answer, code: &str) {
    assert_eq!(answer.error(), Some(code), "{answer:?}");
    clean(code, &answer.head);
    clean(code, &String::from_utf8_lossy(&answer.body));
}

/// A relay that has secrets, and says everything.
async fn relay(folder: &TempDir, format: &str) -> (Watched, SocketAddr) {
    let tokens = folder.path().join("tokens.toml");
    fs::write(&tokens, "").unwrap();
    let mut command = Program::command("ggrok-server");
    command
        .args([
            "--port",
            "0",
            "--bind",
            "127.0.0.1",
            "--settling-time",
            "0s",
        ])
        .args(["--log", "trace", "--log-format", format, "--http2"])
        .args(["--domain", "tunnel.test"])
        .arg("--tokens-file")
        .arg(&tokens)
        .env("GGROK_TOKEN", secret("token"))
        .env("GGROK_METRICS_TOKEN", secret("metrics"))
        .env("NO_COLOR", "1");
    let relay = Watched::start(folder.path(), "relay", &mut command);
    relay.until("listening").await;
    let said = relay.said();
    let (_, port) = said.split_once("127.0.0.1:").unwrap();
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    (relay, address)
}

/// A client that has the token from somewhere, and says everything.
async fn client(
    folder: &TempDir,
    name: &str,
    relay: SocketAddr,
    origin: &Origin,
    with: impl FnOnce(&mut Command),
) -> Watched {
    let mut command = Program::command("ggrok-client");
    command
        .args(["--server", &relay.to_string(), "--log", "trace", "--json"])
        .args(["--name", name])
        .args(["--local", &origin.address.to_string()]);
    with(&mut command);
    let client = Watched::start(folder.path(), name, &mut command);
    client.until("\"ready\"").await;
    client
}

/// A request with a secret wherever one can be.
fn laden(relay: SocketAddr, host: &str, target: &str, fields: &str) -> String {
    let body = secret("sent");
    format!(
        "POST {target}?key={CANARY}-query HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: id={CANARY}-cookie\r\nProxy-Authorization: Basic {CANARY}\r\nReferer: http://{relay}/?{CANARY}\r\nX-Secret: {CANARY}-field\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn shows_no_secret(format: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (relay, at) = relay(&folder, format).await;
    let origin = Origin::start(app).await;
    let saved = folder.path().join("config.toml");
    // A saved token goes to the saved relay alone.
    fs::write(
        &saved,
        format!("server = \"{at}\"\ntoken = \"{}\"\n", secret("token")),
    )
    .unwrap();
    let by_file = client(&folder, "file", at, &origin, |command| {
        command.env("GGROK_CONFIG", &saved);
    })
    .await;
    let by_variable = client(&folder, "variable", at, &origin, |command| {
        command.env("GGROK_TOKEN", secret("token"));
    })
    .await;
    let by_flag = client(&folder, "flag", at, &origin, |command| {
        command.args(["--token", &secret("token"), "--dialect", "magic-mirror"]);
    })
    .await;

    answers_of_apps(at).await;
    refusals_of_the_relay(at).await;
    pages_of_the_relay(at).await;
    answers_to_noise(at).await;
    damage_tokens(&folder, &relay).await;

    // `--token` is where everybody sees it: its help and the documents name better places.
    for (name, program) in [
        ("relay", &relay),
        ("file", &by_file),
        ("variable", &by_variable),
    ] {
        clean(&format!("the arguments of {name}"), &program.arguments());
    }
    for program in [by_file, by_variable, by_flag, relay] {
        let said = program.end().await;
        assert!(said.lines().count() > 2, "{said}");
        clean("the output", &said);
    }
}

/// What visitors' passwords come in.
fn authorization() -> String {
    format!("Authorization: Basic {CANARY}-password\r\n")
}

/// Apps show secrets, which go through, and break off with some, which do not.
async fn answers_of_apps(at: SocketAddr) {
    let authorization = authorization();
    for name in ["file", "variable", "flag"] {
        let host = format!("{name}.tunnel.test");
        let answer = raw(at, laden(at, &host, "/path", &authorization)).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let wanted = format!("{CANARY}-body");
        assert!(String::from_utf8_lossy(&answer.body).contains(&wanted));
        let broken = format!(
            "GET /broken?{CANARY} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{authorization}\r\n"
        );
        let answer = raw(at, broken).await;
        assert_eq!(answer.status(), 502, "{answer:?}");
        clean("the client's own answer", &format!("{answer:?}"));
    }
}

async fn refusals_of_the_relay(at: SocketAddr) {
    let authorization = authorization();
    let own = at.to_string();
    refused(
        &raw(at, laden(at, "nobody.test", "/", &authorization)).await,
        "unknown-host",
    );
    refused(
        &raw(at, laden(at, "c4nary c4nary", "/", &authorization)).await,
        "bad-host",
    );
    refused(
        &raw(at, laden(at, &own, "http://u:c4nary@x/", "")).await,
        "bad-host",
    );
    for field in ["Authorization: Bearer", "X-Ggrok-Token:"] {
        let field = format!("{field} {CANARY}-guess\r\n");
        for page in [
            "/_ggrok/mirrors/x/",
            "/_ggrok/mirror",
            "/$$ggrok",
            "/_ggrok/mirrors/",
        ] {
            let answer = raw(at, laden(at, &own, page, &field)).await;
            clean(page, &format!("{answer:?}"));
            assert!(answer.status() >= 400, "{page}: {answer:?}");
        }
    }
}

/// Pages, some of them asked for with the right token.
async fn pages_of_the_relay(at: SocketAddr) {
    let token = format!("X-Ggrok-Token: {}\r\n", secret("token"));
    for page in ["/_ggrok/mirrors", "/_ggrok/mirrors/file", "/_ggrok/nothing"] {
        let asking = format!(
            "GET {page}?{CANARY} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{token}\r\n"
        );
        let answer = raw(at, asking).await;
        clean(page, &format!("{answer:?}"));
    }
    for page in ["/_ggrok/health", "/_ggrok/ready", "/_ggrok/metrics"] {
        clean(
            page,
            &format!("{:?}", get(at, &format!("{page}?{CANARY}")).await),
        );
    }
    let metrics = format!(
        "GET /_ggrok/metrics HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        secret("metrics")
    );
    let metrics = raw(at, metrics).await;
    assert_eq!(metrics.status(), 200);
    clean("metrics", &format!("{metrics:?}"));
}

/// Not HTTP at all, in both versions.
async fn answers_to_noise(at: SocketAddr) {
    for noise in [
        format!("{CANARY}\r\n\r\n"),
        format!("GET /{CANARY}\u{1} HTTP/1.1\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {at}\r\nCookie {CANARY}\r\n\r\n"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{CANARY}{CANARY}{CANARY}"),
    ] {
        let answer = crate::support::exchange(at, noise.as_bytes()).await;
        clean("an answer to noise", &String::from_utf8_lossy(&answer));
    }
}

/// Puts tokens into their file in place of their digests, as somebody might.
async fn damage_tokens(folder: &TempDir, relay: &Watched) {
    let tokens = folder.path().join("tokens.toml");
    for damaged in [
        format!("[[token]]\nowner = \"ana\"\nsha256 = \"{CANARY}\"\n"),
        format!("{CANARY} = 1\n"),
    ] {
        let before = relay.said().matches("the tokens stay").count();
        fs::write(&tokens, damaged).unwrap();
        eventually("the relay has seen it", async || {
            (relay.said().matches("the tokens stay").count() > before).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn no_secret_is_in_a_log_of_text_or_on_a_page() {
    shows_no_secret("text").await;
}

#[tokio::test]
async fn no_secret_is_in_a_log_of_json_or_on_a_page() {
    shows_no_secret("json").await;
}

#[tokio::test]
async fn wrong_settings_are_complained_of_without_their_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let saved = folder.path().join("config.toml");
    let url = format!("wss://ana:{CANARY}@relay.test");
    for (arguments, variables, file) in [
        (vec!["--server", &url, "3000"], vec![], ""),
        (vec!["--remote", &url, "--name", "x", "3000"], vec![], ""),
        (vec!["--local", &url, "--server", "a.test"], vec![], ""),
        (vec!["--host", &url, "3000"], vec![], ""),
        (vec!["--host-header", &url, "3000"], vec![], ""),
        (vec!["login", &url], vec![], ""),
        (vec!["3000"], vec![("GGROK_SERVER", url.as_str())], ""),
        (
            vec!["--server", "a.test"],
            vec![("GGROK_LOCAL", url.as_str())],
            "",
        ),
        (
            vec!["--server", "127.0.0.1:1", "3000"],
            vec![("GGROK_TOKEN", "c4nary\u{1}")],
            "",
        ),
        (vec!["--server", "a.test", "3000"], vec![], "c4nary = 1"),
        (
            vec!["--server", "a.test", "3000"],
            vec![],
            "token = [\"c4nary\"]",
        ),
        (
            vec!["3000"],
            vec![],
            "server = \"wss://ana:c4nary@relay.test\"",
        ),
        (vec!["config", "set", "server", &url], vec![], ""),
    ] {
        fs::write(&saved, file).unwrap();
        let mut command = Program::command("ggrok-client");
        command.args(&arguments).envs(variables.clone());
        command.env("GGROK_CONFIG", &saved);
        let (code, said, complaints) = output(&mut command).await;
        let what = format!("{arguments:?} {variables:?} {file:?}");
        assert!(matches!(code, Some(1 | 2)), "{what}: {code:?} {complaints}");
        assert!(!complaints.is_empty(), "{what}");
        clean(&what.replace(CANARY, "..."), &(said + &complaints));
    }
    let tokens = folder.path().join("tokens.toml");
    for file in ["c4nary", "[[token]]\nowner = \"a\"\nsha256 = \"c4nary\""] {
        fs::write(&tokens, file).unwrap();
        let mut command = Program::command("ggrok-server");
        command.arg("--tokens-file").arg(&tokens);
        let (code, said, complaints) = output(&mut command).await;
        assert_eq!(code, Some(1), "{complaints}");
        clean("a damaged file of tokens", &(said + &complaints));
    }
    let help = output(
        Program::command("ggrok-server")
            .arg("--help")
            .env("GGROK_TOKEN", secret("token"))
            .env("GGROK_METRICS_TOKEN", secret("metrics")),
    )
    .await;
    clean("the help", &format!("{help:?}"));
}
