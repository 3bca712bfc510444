//! Rules for visitors, which the relay keeps before anything reaches the client.

use std::net::SocketAddr;

use futures_util::SinkExt;
use ggrok_client::{ConnectError, Dialect, Login, Logins, Rules, RunError};
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use crate::support::{
    Client, DIALECTS, Http2, Mirror, Origin, Program, Relay, RelayProgram, Seen, Wire, Wires,
    answered, ask, config, dial, error, example, fields, handshake, output, owners, raw, refused,
    tenant,
};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

fn logins(logins: &[&str]) -> Rules {
    let logins: Vec<Login> = logins.iter().map(|login| login.parse().unwrap()).collect();
    Rules {
        logins: Some(Logins::new(&logins).unwrap()),
        ..Rules::default()
    }
}

fn networks(networks: &[&str]) -> Rules {
    Rules {
        networks: networks
            .iter()
            .map(|network| network.parse().unwrap())
            .collect(),
        ..Rules::default()
    }
}

fn paths(paths: &[&str]) -> Rules {
    Rules {
        paths: paths.iter().map(|path| path.parse().unwrap()).collect(),
        ..Rules::default()
    }
}

/// `ana:s3cret`, as a visitor gives it.
const ANA: &str = "Basic YW5hOnMzY3JldA==";

/// A relay, an app and a client with these rules.
struct Setup {
    relay: Relay,
    origin: Origin,
    _client: Client,
}

impl Setup {
    async fn start(rules: Rules) -> Self {
        Self::with(rules, |_| {}).await
    }

    async fn with(rules: Rules, change: impl FnOnce(&mut ggrok_server::Config)) -> Self {
        let relay = Relay::with(change).await;
        let origin = Origin::start(ok).await;
        let mut settings = config(&relay, &origin);
        settings.rules = rules;
        let client = Client::ready(settings).await;
        Self {
            relay,
            origin,
            _client: client,
        }
    }

    /// Status and code of the answer to a request with these lines.
    async fn ask(&self, line: &str, fields: &str) -> (u16, Option<String>) {
        let host = self.relay.address;
        let request =
            format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
        let answer = raw(host, request).await;
        (answer.status(), answer.error().map(ToOwned::to_owned))
    }
}

fn refusal(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

/// What curl prints: the status, and the code of ggrok's own answers.
async fn curl(address: SocketAddr, args: &[&str]) -> String {
    let mut command = Command::new("curl");
    let format = "%{http_code} %header{x-ggrok-error}";
    command.args([
        "--disable",
        "--silent",
        "--output",
        "/dev/null",
        "--write-out",
        format,
    ]);
    command.args(args).arg(format!("http://{address}/"));
    let (_, printed, _) = output(&mut command).await;
    printed.trim().to_owned()
}

#[tokio::test]
async fn a_password_is_asked_for_by_the_real_programs() {
    let relay = RelayProgram::start(|command| {
        command.args(["--token", "t0ken"]).env("GGROK_LOG", "trace");
    })
    .await;
    let origin = Origin::start(ok).await;
    let mut client = Program::command("ggrok-client");
    client.args(["--json", "--server", &relay.address.to_string()]);
    client.args(["--local", &origin.address.to_string(), "--token", "t0ken"]);
    // Two, one of them with what a shell and base64 make hard.
    client.env("GGROK_BASIC_AUTH", "ana:s3cret\nbö:a b:c,ü");
    let mut client = Program::start(&mut client);
    client.line_with(r#""event":"ready""#).await;
    let address = relay.address;
    assert_eq!(curl(address, &[]).await, "401 login-required");
    assert_eq!(curl(address, &["-u", "ana:s3cre"]).await, "401 wrong-login");
    assert_eq!(curl(address, &["-u", "bö:s3cret"]).await, "401 wrong-login");
    assert!(origin.seen().is_empty());
    assert_eq!(curl(address, &["-u", "ana:s3cret"]).await, "200");
    assert_eq!(curl(address, &["-u", "bö:a b:c,ü"]).await, "200");
    assert_eq!(
        curl(address, &["--anyauth", "-u", "ana:s3cret"]).await,
        "200"
    );
    for seen in origin.seen() {
        assert!(seen.field("authorization").is_empty(), "{}", seen.head);
    }
}

#[tokio::test]
async fn the_other_flags_do_the_same() {
    let relay = RelayProgram::start(|command| {
        command.args(["--open", "--trusted-hops", "1"]);
    })
    .await;
    let origin = Origin::start(ok).await;
    let mut client = Program::command("ggrok-client");
    client.args(["--json", "--server", &relay.address.to_string()]);
    client.args(["--local", &origin.address.to_string()]);
    client.args([
        "--allow-cidr",
        "203.0.113.0/24",
        "--allow-cidr",
        "2001:db8::/32",
    ]);
    client.env("GGROK_ALLOW_PATH", "/webhooks,/health");
    let mut client = Program::start(&mut client);
    client.line_with(r#""event":"ready""#).await;
    for (path, from, expected) in [
        ("webhooks/a", "203.0.113.7", "200"),
        ("health", "1.2.3.4, 2001:db8::7", "200"),
        ("health", "203.0.113.7, 1.2.3.4", "403 address-not-allowed"),
        ("admin", "203.0.113.7", "403 path-not-allowed"),
        ("webhooks/../admin", "203.0.113.7", "403 path-not-allowed"),
    ] {
        let from = format!("X-Forwarded-For: {from}");
        let asked = format!("http://{}/{path}", relay.address);
        let format = "%{http_code} %header{x-ggrok-error}";
        let mut command = Command::new("curl");
        command.args([
            "--disable",
            "--silent",
            "--path-as-is",
            "--output",
            "/dev/null",
        ]);
        command.args(["--write-out", format, "-H", &from, &asked]);
        assert_eq!(
            output(&mut command).await.1.trim(),
            expected,
            "{path} {from}"
        );
    }
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test]
async fn a_wrong_flag_is_told_without_its_password() {
    for args in [["--basic-auth", "s3cret"], ["--basic-auth", "bad\n:s3cret"]] {
        let mut command = Program::command("ggrok-client");
        command.args(["--server", "localhost:1", "3000"]).args(args);
        let (code, _, said) = output(&mut command).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("USER:PASSWORD") && !said.contains("s3cret"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_challenge_tells_what_is_asked_and_reflects_nothing() {
    let setup = Setup::start(logins(&["ana:s3cret"])).await;
    let host = setup.relay.address;
    let request = format!(
        "GET /reflected HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(host, request).await;
    assert_eq!(
        answer.field("www-authenticate"),
        [r#"Basic realm="ggrok", charset="UTF-8""#]
    );
    assert_eq!(answer.field("cache-control"), ["no-store"]);
    assert!(answer.text().starts_with("<!doctype html>") && !answer.text().contains("reflected"));
}

#[tokio::test]
async fn hold_whatever_a_visitor_asks_in() {
    let setup = Setup::with(logins(&["ana:s3cret"]), |config| config.http2 = true).await;
    let required = refusal(401, "login-required");
    let preflight = "Origin: https://b.example\r\nAccess-Control-Request-Method: PUT\r\n";
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let body = "Content-Length: 3\r\n\r\nabc";
    let expecting = "Content-Length: 3\r\nExpect: 100-continue\r\n";
    for (line, fields) in [
        ("HEAD /", ""),
        ("OPTIONS /", preflight),
        ("OPTIONS *", ""),
        ("POST /", body),
        ("PUT /", expecting),
        ("GET /", socket),
        ("GET http://other.example/", ""),
    ] {
        let answer = setup.ask(line, fields).await;
        let is_other = line.contains("other");
        let expected = if is_other {
            refusal(404, "unknown-host")
        } else {
            required.clone()
        };
        assert_eq!(answer, expected, "{line}");
    }
    // The last of those on one connection has no login, and is not let in by the others'.
    let mut visitor = Wire::connect(setup.relay.address).await;
    let host = format!("Host: {}", setup.relay.address);
    let with = format!("GET /with HTTP/1.1\r\n{host}\r\nAuthorization: {ANA}\r\n\r\n");
    let without = format!("GET /without HTTP/1.1\r\n{host}\r\n\r\n");
    visitor.send(format!("{with}{with}{without}")).await;
    for status in [" 200 ", " 200 ", " 401 "] {
        assert_eq!(visitor.head().await[8..13], *status);
        if status == " 200 " {
            visitor.exactly(2).await;
        }
    }
    let answer = Http2::connect(setup.relay.address).await.get("/").await;
    assert_eq!(
        error(&answer),
        (StatusCode::UNAUTHORIZED, Some("login-required"))
    );
    let seen = setup.origin.seen();
    assert!(seen.iter().all(|seen| seen.target() == "/with"), "{seen:?}");
}

#[tokio::test]
async fn hold_in_every_dialect() {
    for dialect in DIALECTS {
        let relay = example(|_| {}).await;
        let origin = Origin::start(ok).await;
        let mut settings = tenant(&relay, origin.address, dialect, "app");
        settings.rules = logins(&["ana:s3cret"]);
        let _client = Client::ready(settings).await;
        let ask = async |fields: &str| {
            let request =
                format!("GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{fields}\r\n");
            raw(relay.address, request).await.status()
        };
        assert_eq!(ask("").await, 401, "{dialect}");
        assert!(origin.seen().is_empty());
        assert_eq!(
            ask(&format!("Authorization: {ANA}\r\n")).await,
            200,
            "{dialect}"
        );
    }
}

#[tokio::test]
async fn a_websocket_is_refused_before_the_app_hears_of_it() {
    let relay = Relay::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap().to_string().parse().unwrap();
    let mut settings = ggrok_client::Config::new(relay.address.to_string().parse().unwrap(), local);
    settings.rules = logins(&["ana:s3cret"]);
    let client = Client::ready(settings).await;
    let wires = Wires {
        listener,
        relay,
        client,
    };
    let asking = "GET /socket HTTP/1.1\r\nHOST\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n";
    let mut refused = wires.visitor(format!("{asking}\r\n")).await;
    assert!(refused.head().await.starts_with("HTTP/1.1 401 "));
    // The first request that the app hears of is the second visitor's.
    let asking = format!("{asking}Authorization: {ANA}\r\n\r\n");
    let (mut visitor, mut local, head) = wires.call(asking).await;
    assert!(fields(&head, "authorization").is_empty(), "{head}");
    local.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n\r\nyes").await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(visitor.exactly(3).await, b"yes");
}

#[tokio::test]
async fn the_apps_own_authorization_is_left_to_it() {
    let setup = Setup::start(logins(&["ana:s3cret"])).await;
    let (bearer, ours) = (
        "Authorization: Bearer x\r\n",
        format!("X-Ggrok-Authorization: {ANA}\r\n"),
    );
    assert_eq!(
        setup.ask("GET /", bearer).await,
        refusal(401, "login-required")
    );
    assert_eq!(
        setup.ask("GET /", &format!("{bearer}{ours}")).await,
        (200, None)
    );
    let seen = setup.origin.last();
    assert_eq!(seen.field("authorization"), ["Bearer x"]);
    assert!(seen.field("x-ggrok-authorization").is_empty());

    // Where no password is asked for, nothing is taken.
    let setup = Setup::start(networks(&["127.0.0.0/8"])).await;
    let basic = format!("Authorization: {ANA}\r\n");
    assert_eq!(setup.ask("GET /", &basic).await, (200, None));
    assert_eq!(setup.origin.last().field("authorization"), [ANA]);
}

#[tokio::test]
async fn whoever_guesses_has_to_wait_and_nobody_else() {
    let hops = |config: &mut ggrok_server::Config| config.trusted_hops = 1;
    let setup = Setup::with(logins(&["ana:s3cret"]), hops).await;
    let from = |address: &str, login: &str| {
        format!("X-Forwarded-For: {address}\r\nAuthorization: {login}\r\n")
    };
    let right = from("192.0.2.1", ANA);
    assert_eq!(setup.ask("GET /", &right).await, (200, None));
    let wrong = from("192.0.2.1", "Basic YW5hOmd1ZXNz");
    for _ in 0..10 {
        assert_eq!(
            setup.ask("GET /", &wrong).await,
            refusal(401, "wrong-login")
        );
    }
    let blocked = refusal(429, "too-many-logins");
    assert_eq!(setup.ask("GET /", &wrong).await, blocked);
    // Or the right one could be told from the others by going on.
    assert_eq!(setup.ask("GET /", &right).await, blocked);
    assert_eq!(
        setup.ask("GET /", &from("192.0.2.2", ANA)).await,
        (200, None)
    );
    assert_eq!(setup.origin.seen().len(), 2);
}

#[tokio::test]
async fn paths_are_kept_on_the_wire_and_in_fields() {
    let setup = Setup::with(paths(&["/webhooks"]), |config| config.http2 = true).await;
    for path in [
        "/webhooks",
        "/webhooks/",
        "/webhooks/a%20b?x=/../y//z",
        "/webhooks?/..",
    ] {
        assert_eq!(
            setup.ask(&format!("GET {path}"), "").await,
            (200, None),
            "{path}"
        );
        assert_eq!(setup.origin.last().target(), path);
    }
    let most = setup.origin.seen().len();
    let mut http2 = Http2::connect(setup.relay.address).await;
    let host = setup.relay.address;
    for path in [
        "/",
        "/webhooksx",
        "//webhooks",
        "/webhooks/../x",
        "/webhooks/%2e%2e/x",
        "/webhooks/..%2fx",
        "/webhooks/%252e%252e/x",
        "/webhooks//x",
        "/webhooks/..;/x",
        "/webhooks/..%5cx",
        "/?/webhooks",
    ] {
        let refused = refusal(403, "path-not-allowed");
        assert_eq!(
            setup.ask(&format!("GET {path}"), "").await,
            refused,
            "{path}"
        );
        let absolute = format!("GET http://{host}{path}");
        assert_eq!(setup.ask(&absolute, "").await, refused, "{path}");
        let answer = http2.get(path).await;
        assert_eq!(
            error(&answer),
            (StatusCode::FORBIDDEN, Some("path-not-allowed")),
            "{path}"
        );
    }
    assert_eq!(
        setup.ask("OPTIONS *", "").await,
        refusal(403, "path-not-allowed")
    );
    assert_eq!(setup.origin.seen().len(), most);
    let names = [
        "X-Original-URL",
        "X_Rewrite_Url",
        "SCRIPT_NAME",
        "SCRIPT-NAME",
        "PATH_INFO",
        "X-Script-Name",
        "X-Invoke-Path",
        "X-Matched-Path",
        "X-Middleware-Rewrite",
        "X-Ms-Original-Url",
        "Request-Uri",
        "X-Replaced-Path",
        "X-Proxy-Url",
        "X-Real-Uri",
        "UNENCODED_URL",
        "Base-Url",
        "X-Forwarded-Base",
        "Destination",
        "X-WebDAV-Destination",
        "X-Http-Destinationurl",
        "X.Original.Url",
    ];
    let other: String = names
        .iter()
        .map(|name| format!("{name}: /admin\r\n"))
        .collect();
    let other = &*other;
    assert_eq!(setup.ask("GET /webhooks", other).await, (200, None));
    assert!(!setup.origin.last().head.contains("/admin"));
}

#[tokio::test]
async fn all_kinds_of_rules_have_to_be_met() {
    let rules = Rules {
        networks: networks(&["127.0.0.1"]).networks,
        paths: paths(&["/a"]).paths,
        ..logins(&["ana:s3cret"])
    };
    let setup = Setup::start(rules).await;
    let login = format!("Authorization: {ANA}\r\n");
    // What a visitor says of its address is not believed.
    assert_eq!(
        setup
            .ask("GET /a", &format!("{login}X-Forwarded-For: 6.6.6.6\r\n"))
            .await,
        (200, None)
    );
    assert_eq!(
        setup.ask("GET /b", &login).await,
        refusal(403, "path-not-allowed")
    );
    assert_eq!(
        setup.ask("GET /a", "").await,
        refusal(401, "login-required")
    );
    let setup = Setup::start(networks(&["203.0.113.0/24", "::1"])).await;
    let told = "X-Forwarded-For: 203.0.113.1\r\nForwarded: for=203.0.113.1\r\n";
    assert_eq!(
        setup.ask("GET /", told).await,
        refusal(403, "address-not-allowed")
    );
    assert!(setup.origin.seen().is_empty());
}

#[tokio::test]
async fn the_newest_clients_rules_are_those_that_hold() {
    let setup = Setup::start(logins(&["ana:s3cret"])).await;
    let settings = |rules| {
        let mut settings = config(&setup.relay, &setup.origin);
        settings.rules = rules;
        settings
    };
    let login = format!("Authorization: {ANA}\r\n");
    assert_eq!(setup.ask("GET /", &login).await, (200, None));
    let _second = Client::ready(settings(logins(&["ana:another"]))).await;
    assert_eq!(
        setup.ask("GET /", &login).await,
        refusal(401, "wrong-login")
    );
    let another = "Authorization: Basic YW5hOmFub3RoZXI=\r\n";
    assert_eq!(setup.ask("GET /", another).await, (200, None));
    let _third = Client::ready(settings(paths(&["/a"]))).await;
    assert_eq!(setup.ask("GET /a", "").await, (200, None));
    assert_eq!(
        setup.ask("GET /", another).await,
        refusal(403, "path-not-allowed")
    );
    let _fourth = Client::ready(settings(Rules::default())).await;
    assert_eq!(setup.ask("GET /", "").await, (200, None));
}

/// Answers handshakes as a relay does that knows nothing of rules, or that sends fields back unread.
#[expect(clippy::result_large_err, reason = "tungstenite's signature")]
async fn unknowing(sends_back: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut sockets = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let echo = |request: &Request, mut response: Response| {
                let rules = request.headers().get("x-ggrok-rules").unwrap();
                if sends_back {
                    response
                        .headers_mut()
                        .insert("x-ggrok-rules", rules.clone());
                }
                Ok(response)
            };
            let Ok(mut socket) = accept_hdr_async(stream, echo).await else {
                continue;
            };
            // A call at once, as for a visitor who waits.
            let call = r#"{"Req":"GET / HTTP/1.1\r\nHost: a\r\n\r\n","URL":"/"}"#;
            socket.send(Message::text(call)).await.ok();
            sockets.push(socket);
        }
    });
    address
}

#[tokio::test]
async fn a_relay_that_does_not_keep_them_is_not_served() {
    for sends_back in [false, true] {
        let relay = unknowing(sends_back).await;
        let origin = Origin::start(ok).await;
        let local = origin.address.to_string();
        let mut settings =
            ggrok_client::Config::new(relay.to_string().parse().unwrap(), local.parse().unwrap());
        settings.dialect = Some(Dialect::Ggrok);
        settings.rules = paths(&["/webhooks"]);
        let ended = Client::launch(settings).ended().await;
        assert!(
            matches!(ended, Err(RunError::Connect(ConnectError::RulesNotKept))),
            "{ended:?}"
        );

        let mut command = Program::command("ggrok-client");
        command.args([
            "--server",
            &relay.to_string(),
            "--local",
            &local,
            "--dialect",
            "ggrok",
        ]);
        let (code, said, error) = output(command.args(["--allow-path", "/webhooks"])).await;
        assert_eq!(code, Some(4), "{error}");
        assert!(
            error.contains("does not keep rules") && !said.contains("Ready"),
            "{error}"
        );
        assert!(origin.seen().is_empty());
    }
}

#[tokio::test]
async fn what_the_relay_does_not_understand_is_refused() {
    let relay = Relay::with(owners).await;
    let known = networks(&["192.0.2.1"]).to_field().unwrap();
    let register = |fields: &[&str]| {
        let mut handshake = handshake(relay.address, "/_ggrok/mirror?name=app", "k-ana");
        for field in fields {
            handshake
                .headers_mut()
                .append("x-ggrok-rules", field.parse().unwrap());
        }
        handshake
    };
    let known = known.to_str().unwrap();
    // {"countries":["nl"]}, and a rule twice.
    for fields in [
        &["eyJjb3VudHJpZXMiOlsibmwiXX0"][..],
        &["?"],
        &[""],
        &[known, known],
    ] {
        let (status, code, text) = refused(register(fields)).await;
        assert_eq!((status, &*code), (400, "bad-rules"), "{fields:?}");
        assert!(text.contains("does not understand"), "{text}");
    }
    assert_eq!(relay.tunnels().await, 0);
    let (_socket, response) = dial(register(&[known])).await;
    let receipt = Rules::receipt(&known.parse().unwrap());
    assert_eq!(response.headers()["x-ggrok-rules"], receipt);
}

#[tokio::test]
async fn an_owners_program_is_let_in_by_its_token_and_nobody_without_one() {
    let rules = || paths(&["/webhooks"]).to_field().unwrap();
    for is_open in [false, true] {
        let relay = Relay::with(|config| {
            if !is_open {
                owners(config);
            }
        })
        .await;
        let mut handshake = handshake(relay.address, "/_ggrok/mirror?name=app", "k-ana");
        handshake.headers_mut().insert("x-ggrok-rules", rules());
        let mirror = Mirror::dialled(handshake, |_| answered(200, "hi")).await;
        let answer = ask(relay.address, "GET /_ggrok/mirrors/app/admin", "k-ana").await;
        let expected = if is_open {
            (403, Some("open-relay"))
        } else {
            (200, None)
        };
        assert_eq!((answer.status(), answer.error()), expected);
        assert_eq!(mirror.asked().is_empty(), is_open);
    }
}
