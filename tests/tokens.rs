//! The file of tokens, as the relay's program reads it and makes its entries.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{
    Mirror, Program, RelayProgram, ask, dial, eventually, handshake, names, output, refused,
};

/// A file of tokens in a folder of its own.
struct TokensFile {
    folder: TempDir,
}

/// A token, and the entry of the file that stands for it.
struct New {
    token: String,
    entry: String,
}

impl TokensFile {
    fn new(entries: &[&New]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = Self { folder };
        file.write(entries);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    fn write(&self, entries: &[&New]) {
        let text: String = entries.iter().map(|new| new.entry.as_str()).collect();
        fs::write(self.path(), text).unwrap();
    }

    async fn relay(&self) -> RelayProgram {
        RelayProgram::start(|command| {
            command.arg("--tokens-file").arg(self.path());
            // Scenarios ask until a token is valid.
            command.args(["--wrong-tokens", "100000"]);
        })
        .await
    }
}

/// Makes a token by the program.
async fn new(args: &[&str]) -> New {
    let mut command = Program::command("ggrok-server");
    let (code, entry, told) = output(command.args(["token", "new"]).args(args)).await;
    assert_eq!(code, Some(0), "{told}");
    let token = told.lines().find(|line| line.starts_with("  ggrok_"));
    let token = token.expect("it tells the token").trim().to_owned();
    assert!(!entry.contains(&token), "the file must not hold the token");
    New { token, entry }
}

#[tokio::test]
async fn a_new_token_is_valid_as_soon_as_the_file_has_it() {
    let (ana, ben) = (
        new(&["--owner", "ana"]).await,
        new(&["--owner", "ben"]).await,
    );
    let file = TokensFile::new(&[&ana]);
    let relay = file.relay().await;
    let _anas = Mirror::saying(relay.address, "app", &ana.token, "ana's").await;
    let bens = || handshake(relay.address, "/_ggrok/mirror?name=app", &ben.token);
    assert_eq!(refused(bens()).await.0, 401);

    file.write(&[&ana, &ben]);
    eventually("the relay knows it", async || {
        let answer = ask(relay.address, "GET /_ggrok/mirrors", &ben.token).await;
        (answer.status() == 200).then_some(())
    })
    .await;
    let _bens = Mirror::saying(relay.address, "app", &ben.token, "ben's").await;
    for (token, text) in [(&ana.token, "ana's"), (&ben.token, "ben's")] {
        let answer = ask(relay.address, "GET /_ggrok/mirrors/app/", token).await;
        assert_eq!(answer.text(), text);
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_its_tunnels_and_no_others() {
    let (old, own) = (
        new(&["--owner", "ana"]).await,
        new(&["--owner", "ana"]).await,
    );
    let ben = new(&["--owner", "ben"]).await;
    let file = TokensFile::new(&[&old, &own, &ben]);
    let relay = file.relay().await;
    let mut revoked = Mirror::saying(relay.address, "old", &old.token, "").await;
    let kept = Mirror::saying(relay.address, "kept", &own.token, "ana's").await;
    let bens = Mirror::saying(relay.address, "old", &ben.token, "ben's").await;

    file.write(&[&ben, &own]);
    let since = Instant::now();
    assert_eq!(revoked.closed().await, Some(4401));
    let took = since.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let back = handshake(relay.address, "/_ggrok/mirror?name=old", &old.token);
    assert_eq!(refused(back).await.1, "wrong-token");
    let answer = ask(relay.address, "GET /_ggrok/mirrors", &old.token).await;
    assert_eq!(answer.status(), 401);

    // The same owner has another token, and another owner the same name.
    assert!(kept.is_connected() && bens.is_connected());
    eventually("it is not listed", async || {
        (names(relay.address, &own.token).await == ["kept"]).then_some(())
    })
    .await;
    let answer = ask(relay.address, "GET /_ggrok/mirrors/old/", &ben.token).await;
    assert_eq!(answer.text(), "ben's");
}

#[tokio::test]
async fn a_token_that_expires_ends_its_tunnels() {
    let lasting = new(&["--owner", "ana", "--expires-in", "90days"]).await;
    let brief = new(&["--owner", "ana", "--expires-in", "5s"]).await;
    let file = TokensFile::new(&[&lasting, &brief]);
    let relay = file.relay().await;
    let kept = Mirror::saying(relay.address, "kept", &lasting.token, "ok").await;
    let mut expired = Mirror::saying(relay.address, "brief", &brief.token, "ok").await;
    assert_eq!(names(relay.address, &brief.token).await, ["brief", "kept"]);
    assert_eq!(expired.closed().await, Some(4401));
    let back = handshake(relay.address, "/_ggrok/mirror?name=brief", &brief.token);
    assert_eq!(refused(back).await.1, "wrong-token");
    assert!(kept.is_connected());
}

#[tokio::test]
async fn a_damaged_file_changes_nothing_and_is_not_shown() {
    let (ana, ben) = (
        new(&["--owner", "ana"]).await,
        new(&["--owner", "ben"]).await,
    );
    let file = TokensFile::new(&[&ana]);
    let mut relay = file.relay().await;
    let mirror = Mirror::saying(relay.address, "app", &ana.token, "ok").await;
    for (text, says) in [
        ("token = \"s3cret\"\n", "line 1"),
        ("[[token]]\nnames = \"s3cret\"\n", "line 2"),
        ("[[token]]\nowner = \"ana\"\ntoken = \"s3cret\"\n", "line 3"),
        ("s3cret", "line 1"),
        (
            "[[token]]\nowner = \"ana\"\nsha256 = \"s3cret\"\n",
            "number 1 of owner",
        ),
    ] {
        fs::write(file.path(), text).unwrap();
        let line = relay
            .program
            .line_with("the tokens stay what they were")
            .await;
        assert!(
            line.contains(says) && line.contains("tokens.toml"),
            "{line}"
        );
        assert!(line.contains("ERROR") && !line.contains("s3cret"), "{line}");
        let answer = ask(relay.address, "GET /_ggrok/mirrors/app/", &ana.token).await;
        assert_eq!(answer.text(), "ok");
    }
    fs::remove_file(file.path()).unwrap();
    let line = relay
        .program
        .line_with("the tokens stay what they were")
        .await;
    assert!(line.contains("cannot be read"), "{line}");
    let (socket, _) = dial(handshake(
        relay.address,
        "/_ggrok/mirror?name=b",
        &ana.token,
    ))
    .await;
    drop(socket);
    assert!(mirror.is_connected());

    // Half a file may well be an empty one.
    file.write(&[]);
    relay.program.line_with("has no entry any more").await;
    assert!(mirror.is_connected());

    // One that is whole again is read.
    file.write(&[&ben]);
    relay.program.line_with("read the tokens again").await;
    let answer = ask(relay.address, "GET /_ggrok/mirrors", &ana.token).await;
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_token_allows_its_names_and_hosts_alone() {
    let args = [
        "--owner",
        "ana",
        "--name",
        "ana-*",
        "--name",
        "blog",
        "--host",
        "*.ana.example",
    ];
    let ana = new(&args).await;
    let file = TokensFile::new(&[&ana]);
    let relay = file.relay().await;
    for (target, allowed) in [
        ("/_ggrok/mirror?name=ana-", true),
        ("/_ggrok/mirror?name=ana-prometheus", true),
        ("/_ggrok/mirror?name=blog", true),
        ("/_ggrok/mirror?name=blogs", false),
        ("/_ggrok/mirror?name=ana", false),
        ("/$$ggrok?host=app.ana.example", true),
        ("/$$ggrok?host=app.ben.example", false),
        ("/$$ggrok", false),
    ] {
        let handshake = handshake(relay.address, target, &ana.token);
        if allowed {
            dial(handshake).await;
        } else {
            let (status, error, _) = refused(handshake).await;
            assert_eq!((status, error.as_str()), (403, "not-yours"), "{target}");
        }
    }
}

#[tokio::test]
async fn the_relay_says_which_entry_of_the_file_is_wrong() {
    let ana = new(&["--owner", "ana"]).await;
    let file = TokensFile::new(&[]);
    let entry =
        |owner: &str, rest: &str| format!("{}[[token]]\nowner = \"{owner}\"\n{rest}", ana.entry);
    let twice = [&*ana.entry, &*ana.entry].concat();
    for (text, says) in [
        (
            entry("ben", "sha256 = \"s3cret\"\n"),
            &["number 2", "\"ben\"", "64 hexadecimal"][..],
        ),
        (twice, &["number 2", "\"ana\"", "another entry"]),
        (entry("ben", "token = \"s3cret\"\n"), &["line", "damaged"]),
        ("s3cret".to_owned(), &["line 1", "damaged"]),
    ] {
        fs::write(file.path(), text).unwrap();
        let mut command = Program::command("ggrok-server");
        let (code, _, error) = output(command.arg("--tokens-file").arg(file.path())).await;
        assert_eq!(code, Some(1), "{error}");
        assert!(says.iter().all(|says| error.contains(says)), "{error}");
        assert!(
            error.contains("tokens.toml") && !error.contains("s3cret"),
            "{error}"
        );
    }
    for (args, says) in [
        (
            &["--tokens-file", "/nonexistent/tokens"][..],
            "cannot be read",
        ),
        (
            &["--tokens-file", "/nonexistent/tokens", "--open"],
            "contradict",
        ),
        (&["token", "new", "--owner", ""], "--owner is empty"),
    ] {
        let (code, _, error) = output(Program::command("ggrok-server").args(args)).await;
        assert_eq!(code, Some(1), "{args:?}: {error}");
        assert!(error.contains(says), "{args:?}: {error}");
    }
}
