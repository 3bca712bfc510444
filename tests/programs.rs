//! The two programs as a person runs them: flags, environment, files, signals, exit codes.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::{
    Origin, PATIENCE, Program, Relay, RelayProgram, Seen, eventually, get, output,
};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

#[tokio::test]
async fn the_relay_refuses_to_start_without_saying_who_may_register() {
    let (code, _, error) = output(&mut Program::command("ggrok-server")).await;
    assert_eq!(code, Some(1));
    assert!(
        error.contains("--token") && error.contains("--open"),
        "{error}"
    );
    let (code, _, _) = output(Program::command("ggrok-server").env("GGROK_TOKEN", " ")).await;
    assert_eq!(code, Some(1), "an empty token is none");
    let (code, _, error) = output(
        Program::command("ggrok-server")
            .env("GGROK_TOKEN", "s3cret")
            .arg("--open"),
    )
    .await;
    assert_eq!(code, Some(1));
    assert!(
        error.contains("contradict") && !error.contains("s3cret"),
        "{error}"
    );
    let (code, _, error) = output(
        Program::command("ggrok-server")
            .env("GGROK_TOKEN", "s3cret")
            .arg("--help"),
    )
    .await;
    assert_eq!((code, error.contains("s3cret")), (Some(0), false));
}

/// What each program is told that is wrong, and what it says then.
const WRONG_SETTINGS: [(&str, &[(&str, &str)]); 2] = [
    (
        "ggrok-server",
        &[
            ("--opne", "--open"),
            ("--open --body-limit much", "--body-limit"),
            (
                "--open --port 0 --idle-timeout 0s",
                "--idle-timeout of nothing",
            ),
            (
                "--open --port 0 --call-timeout 0s",
                "--call-timeout of nothing",
            ),
            (
                "--open --port 0 --stream-idle 0ms",
                "--stream-idle of nothing",
            ),
            ("--open --port 0 --body-pace 0s", "like --body-pace 1m"),
            ("--open --port 0 --calls 0", "0 is not in 1.."),
            (
                "--open --port 0 --connections 18446744073709551615",
                "--connections",
            ),
            (
                "--open --port 0 --memory 1MiB",
                "--memory is at least 16MiB",
            ),
            (
                "--open --port 0 --held-limit 0",
                "--held-limit is at least 64KiB",
            ),
            (
                "--open --port 0 --head-limit 1KiB",
                "--head-limit is at least 4KiB",
            ),
        ],
    ),
    (
        "ggrok-client",
        &[
            ("--sevrer x", "--server"),
            ("3000", "--server HOST"),
            ("--server a.example", "ggrok-client 3000"),
            ("--server https://a.example/path 3000", "without a path"),
            ("--server ftp://a.example 3000", "wss://"),
            (
                "--server a.example --local http://localhost:3000/x",
                "without a path",
            ),
            ("--server a.example 99999", "99999"),
            (
                "--server a.example /run/app.sock",
                "Unix sockets are not supported",
            ),
            (
                "--server a.example --local unix:/run/app",
                "Unix sockets are not supported",
            ),
            ("tcp 22", "no other TCP"),
            ("http", "ggrok-client 3000"),
            ("http 3000", "--server HOST"),
            ("tunnel --url http://localhost:3000", "--server HOST"),
            ("http 3000 --region eu", "no regions"),
            (
                "--server a.example --local-host 10.0.0.1 -p 80",
                "--local 192.168.1.5:3000",
            ),
            (
                "--server a.example 3000 --ca-cert /nonexistent",
                "cannot read /nonexistent",
            ),
            (
                "--server 127.0.0.1:1 3000 --local-timeout 0s",
                "--local-timeout of nothing",
            ),
            (
                "--server 127.0.0.1:1 3000 --stream-idle 0s",
                "--stream-idle of nothing",
            ),
            ("--server 127.0.0.1:1 3000 --calls 0", "0 is not in 1.."),
            (
                "--server 127.0.0.1:1 3000 --window-limit 63KiB",
                "--window-limit is at least 64KiB",
            ),
            (
                "--server 127.0.0.1:1 3000 --grace-period 61s",
                "--grace-period is at most 1m",
            ),
            (
                "share --server 127.0.0.1:1 --for 500ms",
                "--for is at least 1s",
            ),
        ],
    ),
];

#[tokio::test]
async fn programs_say_what_is_wrong_with_their_settings() {
    let taken = Relay::start().await;
    let port = taken.address.port().to_string();
    let args = ["--open", "--bind", "127.0.0.1", "--port", &port];
    let (code, _, error) = output(Program::command("ggrok-server").args(args)).await;
    assert_eq!(code, Some(1));
    assert!(
        error.contains("cannot listen on 127.0.0.1") && error.contains("--port"),
        "{error}"
    );
    for (program, wrong) in WRONG_SETTINGS {
        for (args, says) in wrong {
            let (code, _, error) = output(Program::command(program).args(args.split(' '))).await;
            assert!(matches!(code, Some(1 | 2)), "{args}: {code:?}");
            assert!(error.contains(says), "{args}: {error}");
        }
    }
}

#[tokio::test]
async fn the_readmes_two_programs_do_their_job_and_stop_by_a_signal() {
    let origin = Origin::start(ok).await;
    for signal in ["TERM", "INT"] {
        let mut relay = RelayProgram::start(|command| {
            command.env("GGROK_TOKEN", "s3cret");
        })
        .await;
        let port = origin.address.port().to_string();
        let mut client = Program::start(
            Program::command("ggrok-client")
                .args(["--server", &relay.address.to_string(), "--port", &port])
                .env("GGROK_TOKEN", "s3cret"),
        );
        let ready = client.line_with("Ready").await;
        assert_eq!(
            ready,
            format!("Ready  http://{}", relay.address),
            "a pipe gets no colours"
        );
        assert_eq!(get(relay.address, "/a?secret=1").await.text(), "hi");
        let line = client.line_with("/a").await;
        assert!(
            line.starts_with("GET     200 ") && line.ends_with("/a"),
            "{line}"
        );

        // Platforms send several.
        relay.program.signal(signal).await;
        relay.program.signal("TERM").await;
        assert_eq!(relay.program.ended().await.code(), Some(0));
        client.line_with("Trying again").await;
        client.signal(signal).await;
        assert_eq!(client.ended().await.code(), Some(0));
    }
}

/// Threads that the scheduler of a program has for tasks, besides the first.
#[cfg(target_os = "linux")]
fn workers(program: &Program) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{}/task", program.id())).unwrap();
    let names = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")));
    names
        .filter(|name| {
            name.as_ref()
                .is_ok_and(|name| name.starts_with("tokio-rt-worker"))
        })
        .count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn both_programs_work_on_as_many_threads_as_they_are_told() {
    let origin = Origin::start(ok).await;
    let relay = RelayProgram::start(|command| {
        command.args(["--open", "--workers", "3"]);
    })
    .await;
    let local = origin.address.to_string();
    let mut client = Program::start(
        Program::command("ggrok-client")
            .args(["--server", &relay.address.to_string(), "--local", &local])
            .env("GGROK_WORKERS", "3"),
    );
    client.line_with("Ready").await;
    let visitors = (0..200).map(|_| get(relay.address, "/"));
    for answer in futures_util::future::join_all(visitors).await {
        assert_eq!(answer.text(), "hi");
    }
    assert_eq!((workers(&relay.program), workers(&client)), (3, 3));
    for program in ["ggrok-server", "ggrok-client"] {
        let (code, _, error) = output(Program::command(program).args(["--workers", "0"])).await;
        assert_eq!(code, Some(2));
        assert!(
            error.contains("--workers") && error.contains("1..=1024"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn the_client_ends_with_its_own_code_where_trying_again_is_pointless() {
    let relay = RelayProgram::start(|command| {
        command.args(["--token", "s3cret"]);
    })
    .await;
    let server = relay.address.to_string();
    let (code, _, error) = output(
        Program::command("ggrok-client").args(["--server", &server, "3000", "--token", "guess"]),
    )
    .await;
    assert_eq!(code, Some(4));
    assert!(
        error.contains("The token is not one of this relay") && !error.contains("guess"),
        "{error}"
    );
    let (code, _, error) =
        output(Program::command("ggrok-client").args(["--server", &server, "3000"])).await;
    assert_eq!(code, Some(4));
    assert!(error.contains("--token or GGROK_TOKEN"), "{error}");

    let page = Origin::start(ok).await;
    let (code, _, error) = output(Program::command("ggrok-client").args([
        "--server",
        &page.address.to_string(),
        "3000",
    ]))
    .await;
    assert_eq!(code, Some(3));
    assert!(error.contains("no ggrok relay"), "{error}");
}

#[tokio::test]
async fn the_client_prints_json_and_goes_on_with_its_output_closed() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let local = origin.address.to_string();
    let args = [
        "--server",
        &relay.address.to_string(),
        "--local",
        &local,
        "--json",
    ]
    .map(ToOwned::to_owned);
    let mut client = Program::start(Program::command("ggrok-client").args(&args));
    client.line_with("\"ready\"").await;
    get(relay.address, "/x").await;
    let line: serde_json::Value = serde_json::from_str(&client.line_with("request").await).unwrap();
    assert_eq!(
        (&line["path"], &line["status"]),
        (&"/x".into(), &200.into())
    );
    client.close_output();
    for _ in 0..10 {
        assert_eq!(get(relay.address, "/").await.status(), 200);
    }
    client.signal("INT").await;
    assert_eq!(client.ended().await.code(), Some(0));
}

async fn run_in(home: &Path, args: &[&str], input: &str) -> (bool, String) {
    let mut child = Program::command("ggrok-client")
        .args(args)
        .env("HOME", home)
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("GGROK_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // A program that reads no input may have ended already.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .await
        .ok();
    let output = timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[cfg(unix)]
#[tokio::test]
async fn the_client_saves_a_relay_and_its_token_for_the_user_alone() {
    use std::os::unix::fs::PermissionsExt;

    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let relay = RelayProgram::start(|command| {
        command.args(["--token", "s3cret"]);
    })
    .await;
    let server = relay.address.to_string();
    let (saved, text) = run_in(home, &["login", &server], "s3cret\n").await;
    assert!(saved && !text.contains("s3cret"), "{text}");
    let path = home.join(".config/ggrok/config.toml");
    let (_, printed) = run_in(home, &["config", "path"], "").await;
    assert_eq!(printed.trim(), path.to_str().unwrap());
    let (_, help) = run_in(home, &["config", "--help"], "").await;
    assert!(help.contains("GGROK_CONFIG"), "{help}");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let (_, shown) = run_in(home, &["config"], "").await;
    assert!(
        shown.contains(&server) && shown.contains("(saved)") && !shown.contains("s3cret"),
        "{shown}"
    );

    let origin = Origin::start(ok).await;
    let mut client = Program::start(
        Program::command("ggrok-client")
            .arg(origin.address.port().to_string())
            .env("HOME", home)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("GGROK_CONFIG"),
    );
    client.line_with("Ready").await;
    assert_eq!(get(relay.address, "/").await.text(), "hi");

    // However it is spelled.
    let spelled = format!("http://{server}/");
    let mut again = Program::start(
        Program::command("ggrok-client")
            .args(["--server", &spelled, &origin.address.port().to_string()])
            .env("GGROK_CONFIG", &path),
    );
    again.line_with("Ready").await;

    // The token is that relay's, and goes to no other.
    let other = RelayProgram::start(|command| {
        command.args(["--token", "s3cret"]);
    })
    .await;
    let other = other.address.to_string();
    let (_, text) = run_in(home, &["--server", &other, "3000"], "").await;
    assert!(text.contains("--token or GGROK_TOKEN"), "{text}");

    let (_, text) = run_in(
        home,
        &["config", "set", "server", "https://a.example/x"],
        "",
    )
    .await;
    assert!(text.contains("without a path"), "{text}");
    run_in(home, &["config", "unset", "token"], "").await;
    let (_, shown) = run_in(home, &["config", "show"], "").await;
    assert!(shown.contains("token = (none)"), "{shown}");
    std::fs::write(&path, "server = [").unwrap();
    let (fine, text) = run_in(home, &["3000"], "").await;
    assert!(!fine && text.contains("config.toml is damaged"), "{text}");
}

#[tokio::test]
async fn the_client_gives_a_saved_token_to_no_relay_that_is_saved_after() {
    let other = Origin::start(ok).await;
    let server = other.address.to_string();
    for leave in [
        &["-proxyServer", &server][..],
        &["config", "set", "server", &server],
        &["config", "unset", "server"],
    ] {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        std::fs::write(home.join(".ggrok"), &server).unwrap();
        run_in(home, &["login", "localhost:1", "--token", "s3cret"], "").await;
        let (_, text) = run_in(home, &["config", "set", "server", "http://localhost:1"], "").await;
        assert!(!text.contains("forgotten"), "{text}");
        let (left, text) = run_in(home, leave, "").await;
        assert!(left && text.contains("ggrok-client login HOST"), "{text}");
        let (_, text) = run_in(home, &["-client", "-port", "3000"], "").await;
        assert!(text.contains("no ggrok relay"), "{leave:?}: {text}");
    }
    let seen = other.seen();
    assert_eq!(seen.len(), 3);
    for request in seen {
        assert!(request.field("authorization").is_empty());
    }
}

#[tokio::test]
async fn the_client_saves_a_token_with_its_relay() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (saved, text) = run_in(home, &["config", "set", "token", "s3cret"], "").await;
    assert!(!saved && text.contains("ggrok-client login HOST"), "{text}");

    std::fs::write(home.join(".ggrok"), "localhost:1").unwrap();
    let (saved, text) = run_in(home, &["config", "set", "token", "s3cret"], "").await;
    assert!(saved, "{text}");
    std::fs::write(home.join(".ggrok"), "localhost:2").unwrap();
    let (_, shown) = run_in(home, &["config"], "").await;
    assert!(
        shown.contains("server = localhost:1\ntoken = (saved)"),
        "{shown}"
    );
}

#[tokio::test]
async fn the_client_takes_the_originals_flags_and_file() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let (server, port) = (relay.address.to_string(), origin.address.port().to_string());
    let start = |home: &Path| {
        Program::start(
            Program::command("ggrok-client")
                .args(["-client", "-port", &port])
                .env("HOME", home)
                .env_remove("XDG_CONFIG_HOME")
                .env_remove("GGROK_CONFIG"),
        )
    };
    // Saved by our program under the original's flag.
    let (saved, text) = run_in(home, &["-client", "-proxyServer", &server], "").await;
    assert!(saved, "{text}");
    start(home).line_with("Ready").await;

    // Saved by the original itself.
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join(".ggrok"), &server).unwrap();
    let mut client = start(other.path());
    client.line_with("Ready").await;
    assert_eq!(get(relay.address, "/").await.text(), "hi");
}

/// The card's first example: a folder behind python's own server, and every byte of it.
#[tokio::test]
async fn every_byte_of_a_folder_compares_equal() {
    if !crate::support::installed("python3") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut files = vec![
        ("index.html".to_owned(), b"<h1>hello</h1>".to_vec()),
        ("empty.txt".to_owned(), vec![]),
    ];
    let noise: Vec<u8> = (0..5_000_000u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    files.push(("large.bin".to_owned(), noise));
    for number in 0..40u8 {
        let bytes = (0..=255)
            .cycle()
            .skip(number.into())
            .take(1000 * usize::from(number))
            .collect();
        files.push((format!("image {number}%.png"), bytes));
    }
    for (name, bytes) in &files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let mut command = Command::new("python3");
    command
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
        .current_dir(folder.path())
        .stderr(Stdio::null());
    let mut python = Program::start(&mut command);
    let line = python.line_with("port").await;
    let port = line
        .split("port ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();

    let relay = RelayProgram::start(|command| {
        command.arg("--open");
    })
    .await;
    let server = relay.address.to_string();
    let mut client =
        Program::start(Program::command("ggrok-client").args(["--server", &server, &port]));
    client.line_with("Ready").await;
    for (name, bytes) in files {
        let path = name.replace('%', "%25").replace(' ', "%20");
        let answer = get(relay.address, &format!("/{path}")).await;
        assert_eq!(answer.status(), 200, "{name}");
        assert!(answer.body == bytes, "{name} differs");
    }
}

/// A way between a client and its relay that can be cut.
struct Cable {
    address: std::net::SocketAddr,
    cut: tokio::sync::broadcast::Sender<()>,
}

impl Cable {
    async fn to(relay: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, _) = tokio::sync::broadcast::channel(1);
        let cutting = cut.clone();
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut cut = cutting.subscribe();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(relay).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { address, cut }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_file_stays_open_after_1000_calls_and_100_reconnects() {
    let origin = Origin::start(ok).await;
    let mut relay = RelayProgram::start(|command| {
        command.arg("--open");
    })
    .await;
    let fresh = relay.program.open_files();
    let cable = Cable::to(relay.address).await;
    let (server, local) = (cable.address.to_string(), origin.address.to_string());
    let mut client = Program::start(
        Program::command("ggrok-client").args(["--server", &server, "--json", "--local", &local]),
    );
    client.line_with("ready").await;
    let connected = client.open_files();
    for round in 0..100 {
        for _ in 0..10 {
            // The host is the one that the client dialled.
            let request = format!("GET / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
            let answer = crate::support::raw(relay.address, request).await;
            assert_eq!(answer.status(), 200, "round {round}");
        }
        cable.cut.send(()).unwrap();
        client.line_with("ready").await;
    }
    // The tunnel's own, and the connections to the local server that may still be idle.
    eventually("the client closed the rest", async || {
        (client.open_files() <= connected).then_some(())
    })
    .await;
    client.signal("INT").await;
    assert_eq!(client.ended().await.code(), Some(0));
    eventually("the relay closed the rest", async || {
        (relay.program.open_files() <= fresh).then_some(())
    })
    .await;
    relay.program.signal("TERM").await;
    assert_eq!(relay.program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_relay_knows_heroku_by_its_dyno() {
    let relay = RelayProgram::start(|command| {
        command.arg("--open").env("DYNO", "web.1");
    })
    .await;
    let origin = Origin::start(ok).await;
    let (server, local) = (relay.address.to_string(), origin.address.to_string());
    let mut client = Program::start(
        Program::command("ggrok-client").args(["--server", &server, "--json", "--local", &local]),
    );
    client.line_with("ready").await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {server}\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(
        crate::support::raw(relay.address, request).await.status(),
        200
    );
    assert_eq!(origin.last().field("x-forwarded-for"), ["203.0.113.9"]);
    assert_eq!(origin.last().field("x-forwarded-proto"), ["https"]);
}
