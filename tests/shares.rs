//! Links for visitors: made by the owner, opened by whoever has them, ended by time, use or the owner.

use std::net::SocketAddr;
use std::path::Path;

use ggrok_client::Dialect;
use ggrok_server::{Access, Authenticate, CancellationToken, Denied, Grant, take_token};
use http::request::Parts;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    Answer, Client, Origin, Owners, Program, Relay, RelayProgram, Seen, Wire, Wires, ask, config,
    eventually, fields, output, owners, raw,
};
#[cfg(target_os = "linux")]
use crate::support::{Browser, Page};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: app=1; Path=/\r\n\r\nhi".to_vec()
}

/// The real programs, a tunnel for those with a link, and a folder for cookies.
struct Programs {
    relay: RelayProgram,
    origin: Origin,
    _client: Program,
    folder: TempDir,
}

/// A visitor who keeps no cookies, like a program that makes a preview.
const NOBODY: &str = "nobody";

const TOKEN: &str = "t0ken-of-the-owner";

impl Programs {
    async fn start(rules: &[&str]) -> Self {
        Self::before(Origin::start(ok).await, rules).await
    }

    async fn before(origin: Origin, rules: &[&str]) -> Self {
        let relay = RelayProgram::start(|command| {
            command.args(["--token", TOKEN, "--trusted-hops", "1"]);
        })
        .await;
        let mut client = Program::command("ggrok-client");
        client.args(["--json", "--server", &relay.address.to_string()]);
        client.args(["--local", &origin.address.to_string(), "--token", TOKEN]);
        let mut client = Program::start(client.args(rules));
        client.line_with(r#""event":"ready""#).await;
        Self {
            relay,
            origin,
            _client: client,
            folder: TempDir::new().unwrap(),
        }
    }

    /// Runs `ggrok-client share`, and returns what it prints.
    async fn share(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Program::command("ggrok-client");
        let (first, rest) = args.split_at(usize::from(!args[0].starts_with('-')));
        command.arg("share").args(first);
        command.args([
            "--server",
            &self.relay.address.to_string(),
            "--token",
            TOKEN,
        ]);
        output(command.args(rest)).await
    }

    /// Makes a link, and returns its URL.
    async fn link(&self, args: &[&str]) -> String {
        let (code, url, said) = self.share(args).await;
        assert_eq!(code, Some(0), "{said}");
        url.trim().to_owned()
    }

    /// The links that there are.
    async fn links(&self) -> Vec<Value> {
        let (_, listed, _) = self.share(&["list", "--json"]).await;
        listed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// What becomes of a visitor with cookies of its own: status and code, after redirects.
    async fn visit(&self, visitor: &str, url: &str, args: &[&str]) -> String {
        let jar = self.folder.path().join(visitor);
        let jar: &Path = jar.as_ref();
        let mut command = Command::new("curl");
        command.args([
            "--disable",
            "--silent",
            "--location",
            "--output",
            "/dev/null",
        ]);
        command.args(["--write-out", "%{http_code} %header{x-ggrok-error}"]);
        if visitor != NOBODY {
            command.arg("--cookie").arg(jar);
            command.arg("--cookie-jar").arg(jar);
        }
        output(command.args(args).arg(url))
            .await
            .1
            .trim()
            .to_owned()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.relay.address)
    }
}

/// A page with an image, which needs the cookie as the page does.
#[cfg(target_os = "linux")]
fn page(seen: &Seen) -> Vec<u8> {
    let (kind, text) = match seen.target() {
        "/dot.svg" => (
            "image/svg+xml",
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="7" height="9"></svg>"#,
        ),
        _ => (
            "text/html",
            r#"<!doctype html><title>An app</title><img src="/dot.svg"><p data-state="done">Welcome</p>"#,
        ),
    };
    let length = text.len();
    let head = format!("Content-Type: {kind}\r\nContent-Length: {length}\r\nSet-Cookie: app=1");
    format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{text}").into_bytes()
}

// On other systems a browser is not found on PATH.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn are_made_with_the_settings_of_a_tunnel() {
    let setup = Programs::start(&["--host", "app.test"]).await;
    let saved = setup.folder.path().join("config.toml");
    let at = setup.relay.address;
    let file = format!("server = \"http://{at}/\"\ntoken = \"{TOKEN}\"\n");
    std::fs::write(&saved, file).unwrap();
    let spelled = format!("ws://{at}");
    for (args, variables) in [
        // A flag stands against the variable; one that is empty is none.
        (&["--host", "app.test"][..], &[("GGROK_NAME", "blog")][..]),
        (&["--host", "app.test"], &[("GGROK_SERVER", " ")]),
        (&[], &[("GGROK_NAME", ""), ("GGROK_HOST", "app.test")]),
        // The saved token is for the saved relay, however it is spelled.
        (&["--server", &spelled, "--host", "app.test"], &[]),
    ] {
        let mut command = Program::command("ggrok-client");
        command.args(["share", "--json"]).args(args);
        command.env("GGROK_CONFIG", &saved);
        command.envs(variables.iter().copied());
        let (code, link, said) = output(&mut command).await;
        assert_eq!(code, Some(0), "{args:?} {variables:?}: {said}");
        let link: Value = serde_json::from_str(&link).unwrap();
        assert_eq!(link["host"], "app.test", "{args:?} {variables:?}");
    }

    let other = Relay::with(|config| config.access = Access::token(TOKEN)).await;
    for (server, code) in [
        (other.address.to_string(), 4),
        (format!("wss://{at}"), 5),
        ("damaged / ".to_owned(), 2),
    ] {
        let mut command = Program::command("ggrok-client");
        command.args(["share", "list", "--server", &server]);
        let (ended, _, said) = output(command.env("GGROK_CONFIG", &saved)).await;
        assert_eq!(ended, Some(code), "{server}: {said}");
    }
}

#[tokio::test]
async fn a_browser_keeps_the_way_in_that_a_link_gives_and_tells_the_app_nothing() {
    let Some(browser) = Browser::find().await else {
        return;
    };
    let programs = Programs::before(Origin::start(page).await, &["--links-only"]).await;
    let link = programs.link(&["--for", "1h", "--uses", "1"]).await;
    let front = programs.url("/");
    let without = Page {
        until: "body",
        ..Page::new(&front)
    };
    let seen = browser.look(without, true).await;
    assert_eq!(seen["responses"][0]["status"], 403, "{seen:#}");
    assert!(programs.origin.seen().is_empty());

    let seen = browser.visit(Page::new(&link)).await;
    assert_eq!(seen["title"], "An app");
    assert_eq!(seen["images"][0]["naturalWidth"], 7, "{seen:#}");
    assert_eq!(programs.links().await[0]["used"], 1);
    let seen = programs.origin.seen();
    let mut cookies: Vec<&str> = seen.iter().flat_map(|seen| seen.field("cookie")).collect();
    cookies.dedup();
    assert_eq!(cookies, ["app=1"]);

    // Another browser has no part in it.
    let another = Page {
        until: "body",
        ..Page::new(&link)
    };
    let seen = browser.look(another, true).await;
    let last = seen["responses"].as_array().unwrap().last().unwrap();
    assert_ne!(last["status"], 200, "{seen:#}");
}

#[tokio::test]
async fn a_link_opens_its_path_for_so_many_and_leaves_no_trace_at_the_app() {
    let programs = Programs::start(&["--links-only"]).await;
    let checkout = programs.url("/checkout/1?a=b");
    assert_eq!(
        programs.visit("eve", &checkout, &[]).await,
        "403 link-required"
    );
    let link = programs
        .link(&["--for", "2h", "--path", "/checkout", "--uses", "2"])
        .await;
    assert!(link.starts_with(&programs.url("/_ggrok/share/")), "{link}");
    let secret = link.rsplit('.').next().unwrap();
    assert!(secret.len() >= 43, "{link}");

    // Those that look at the link alone, or keep no cookie, use nothing up.
    for args in [&[][..], &["--head"], &["--user-agent", "Slackbot"]] {
        assert_eq!(
            programs.visit(NOBODY, &link, args).await,
            "403 link-required"
        );
    }
    assert_eq!(programs.links().await[0]["used"], 0);
    assert!(programs.origin.seen().is_empty());

    assert_eq!(programs.visit("ana", &link, &[]).await, "200");
    assert_eq!(programs.origin.last().target(), "/checkout");
    assert_eq!(programs.visit("ana", &checkout, &[]).await, "200");
    assert_eq!(programs.visit("ana", &link, &[]).await, "200");
    assert_eq!(
        programs.visit("ana", &programs.url("/admin"), &[]).await,
        "403 outside-link"
    );
    assert_eq!(
        programs
            .visit("ana", &programs.url("/checkouts"), &[])
            .await,
        "403 outside-link"
    );
    let up = programs.url("/checkout/..%2fadmin");
    assert_eq!(programs.visit("ana", &up, &[]).await, "403 outside-link");
    assert_eq!(programs.links().await[0]["used"], 1);
    assert_eq!(programs.visit("bob", &link, &[]).await, "200");
    assert_eq!(programs.visit("eve", &link, &[]).await, "410 link-used-up");
    assert_eq!(programs.visit("ana", &checkout, &[]).await, "200");
    for seen in programs.origin.seen() {
        assert!(
            !seen.head.contains("ggrok-share") && !seen.head.contains(secret),
            "{}",
            seen.head
        );
        assert!(seen.target().starts_with("/checkout"));
    }
    // The app's own cookie came and went beside ours.
    assert_eq!(programs.origin.last().field("cookie"), ["app=1"]);
}

#[tokio::test]
async fn a_revoked_link_is_over_at_once_and_what_it_opened_with_it() {
    let programs = Programs::start(&["--basic-auth", "ana:s3cret"]).await;
    let link = programs.link(&["--for=1h"]).await;
    assert_eq!(programs.visit("bob", &link, &[]).await, "200");
    let home = programs.url("/");
    // A password opens it beside the link.
    assert_eq!(
        programs
            .visit("ana", &home, &["--user", "ana:s3cret"])
            .await,
        "200"
    );
    let links = programs.links().await;
    let id = links[0]["id"].as_str().unwrap();
    assert_eq!(
        (links.len(), &links[0]["path"], &links[0]["open"]),
        (1, &json!("/"), &json!(false))
    );
    let (code, _, said) = programs.share(&["revoke", "0123456789abcdef"]).await;
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("no link of this id"), "{said}");
    assert_eq!(programs.share(&["revoke", id]).await.0, Some(0));
    assert!(programs.links().await.is_empty());
    assert_eq!(programs.visit("bob", &link, &[]).await, "410 link-over");
    assert_eq!(
        programs.visit("bob", &home, &[]).await,
        "401 login-required"
    );
}

#[tokio::test]
async fn a_link_ends_with_its_time() {
    let programs = Programs::start(&["--links-only"]).await;
    let link = programs.link(&["--for", "5s"]).await;
    assert_eq!(programs.visit("bob", &link, &[]).await, "200");
    eventually("the link ends", async || {
        (programs.visit("eve", &link, &[]).await == "410 link-over").then_some(())
    })
    .await;
    assert!(programs.links().await.is_empty());
}

#[tokio::test]
async fn a_link_opens_no_wall() {
    let programs = Programs::start(&[
        "--links-only",
        "--allow-cidr=127.0.0.1,192.0.2.0/24",
        "--allow-path=/a",
    ])
    .await;
    let link = programs.link(&["--path", "/a/b"]).await;
    assert_eq!(programs.visit("ana", &link, &[]).await, "200");
    assert_eq!(
        programs.visit("ana", &programs.url("/a/b/c"), &[]).await,
        "200"
    );
    let elsewhere = ["--header", "X-Forwarded-For: 203.0.113.1"];
    assert_eq!(
        programs
            .visit("ana", &programs.url("/a/b"), &elsewhere)
            .await,
        "403 address-not-allowed"
    );
    assert_eq!(
        programs.visit("ana", &programs.url("/b"), &[]).await,
        "403 path-not-allowed"
    );
    assert_eq!(
        programs.visit("ana", &programs.url("/a"), &[]).await,
        "403 outside-link"
    );
}

#[tokio::test]
async fn secrets_are_in_no_log() {
    let relay = RelayProgram::start(|command| {
        command.args(["--token", TOKEN]).env("GGROK_LOG", "trace");
    })
    .await;
    let origin = Origin::start(ok).await;
    let mut client = Program::command("ggrok-client");
    client.args([
        "--server",
        &relay.address.to_string(),
        "--local",
        &origin.address.to_string(),
    ]);
    client.args([
        "--token",
        TOKEN,
        "--basic-auth",
        "ana:s3cret",
        "--log",
        "trace",
    ]);
    let mut client = Program::start_with_stderr(&mut client);
    let shared = eventually("the client is there", async || {
        let mut command = Program::command("ggrok-client");
        command.args([
            "share",
            "--server",
            &relay.address.to_string(),
            "--token",
            TOKEN,
            "--json",
        ]);
        let (code, shared, _) = output(&mut command).await;
        (code == Some(0)).then_some(shared)
    })
    .await;
    let shared: Value = serde_json::from_str(&shared).unwrap();
    let url = shared["url"].as_str().unwrap();
    let secret = url.rsplit('.').next().unwrap();
    let path = url.split_once("/_ggrok").unwrap().1;
    let opened = asked(relay.address, &format!("GET /_ggrok{path}"), "").await;
    let cookie = opened.field("set-cookie")[0]
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let wrong = "Authorization: Basic YW5hOmd1ZXNz\r\n";
    assert_eq!(asked(relay.address, "GET /", wrong).await.status(), 401);
    let right = "Authorization: Basic YW5hOnMzY3JldA==\r\n";
    assert_eq!(asked(relay.address, "GET /", right).await.status(), 200);
    assert_eq!(
        asked(relay.address, "GET /last", &format!("Cookie: {cookie}\r\n"))
            .await
            .status(),
        200
    );
    // All that was logged until the last call.
    let mut relay = relay;
    let secrets = [
        secret,
        &cookie,
        "s3cret",
        "YW5hOnMzY3JldA",
        "YW5hOmd1ZXNz",
        TOKEN,
    ];
    for program in [&mut relay.program, &mut client] {
        loop {
            let line = program.line_with("").await;
            for secret in secrets {
                assert!(!line.contains(secret), "{line}");
            }
            if line.contains("/last") {
                break;
            }
        }
    }
}

/// A visitor's request of this line with these fields.
async fn asked(relay: SocketAddr, line: &str, fields: &str) -> Answer {
    let request = format!("{line} HTTP/1.1\r\nHost: {relay}\r\nConnection: close\r\n{fields}\r\n");
    raw(relay, request).await
}

/// A relay of several owners, whose host `app.ana.example` is one of ana's, for links alone.
async fn of_owners() -> (Relay, Origin, Client) {
    let relay = Relay::with(|config| {
        owners(config);
        config.trusted_hops = 1;
    })
    .await;
    let origin = Origin::start(ok).await;
    let mut settings = config(&relay, &origin);
    settings.claim = ggrok_client::Claim::OtherHost("app.ana.example".parse().unwrap());
    settings.token = ggrok_client::Token::new("k-ana");
    settings.rules.links_only = true;
    settings.dialect = Some(Dialect::V2);
    let client = Client::ready(settings).await;
    (relay, origin, client)
}

/// Asks the API with JSON.
async fn make(relay: SocketAddr, token: &str, json: &Value, fields: &str) -> Answer {
    let body = json.to_string();
    let length = body.len();
    raw(
        relay,
        format!("POST /_ggrok/shares HTTP/1.1\r\nHost: {relay}\r\nX-Ggrok-Token: {token}\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}"),
    )
    .await
}

/// Makes a link to ana's host with a token of hers, and returns its path.
async fn made(relay: SocketAddr, token: &str, uses: Option<u32>) -> String {
    let asked = json!({ "host": "app.ana.example", "seconds": 60, "uses": uses });
    let answer = make(relay, token, &asked, "").await;
    assert_eq!(
        (answer.status(), answer.field("cache-control")),
        (201, vec!["no-store"])
    );
    let link: Value = serde_json::from_slice(&answer.body).unwrap();
    let address = link["address"].as_str().unwrap();
    address
        .strip_prefix("//app.ana.example")
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_visitor_is_let_in_among_any_number_of_cookies_that_other_hosts_have_set() {
    let (relay, _origin, _client) = of_owners().await;
    let ask = async |target: &str, fields: &str| {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: app.ana.example\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.1\r\n{fields}\r\n"
        );
        raw(relay.address, request).await
    };
    for proto in ["http", "https"] {
        let path = made(relay.address, "k-ana", Some(1)).await;
        let opened = ask(&path, &format!("X-Forwarded-Proto: {proto}\r\n")).await;
        let own = opened.field("set-cookie")[0].split(';').next().unwrap();
        let (name, _) = own.split_once('=').unwrap();
        let name = name.strip_prefix("__Host-").unwrap_or(name);
        let forged: Vec<String> = (0..400).map(|n| format!("{name}={n:A>64}")).collect();
        let forged = forged.join("; ");
        let others = ask("/", &format!("Cookie: {forged}\r\n")).await;
        assert_eq!((others.status(), others.error()), (410, Some("link-over")));
        let all = format!("Cookie: {forged}; {own}\r\n");
        assert_eq!(ask("/", &all).await.status(), 200, "{proto}");
        // The visitor is known when it opens the link again, and uses nothing up.
        assert_eq!(ask(&path, &all).await.status(), 303);
    }
}

#[tokio::test]
async fn opening_sets_a_cookie_of_this_host_alone_and_sends_on_without_the_secret() {
    let (relay, _origin, _client) = of_owners().await;
    let path = made(relay.address, "k-ana", None).await;
    let open = async |host: &str, fields: &str| {
        raw(
            relay.address,
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n"),
        )
        .await
    };
    let secure = open(
        "app.ana.example",
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n",
    )
    .await;
    assert_eq!(
        (secure.status(), secure.field("location")),
        (303, vec!["/"])
    );
    assert_eq!(secure.field("cache-control"), ["no-store"]);
    assert_eq!(secure.field("referrer-policy"), ["no-referrer"]);
    let cookie = secure.field("set-cookie")[0];
    assert!(
        cookie.starts_with("__Host-ggrok-share-") && cookie.contains("; Path=/; Max-Age="),
        "{cookie}"
    );
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Secure") && !cookie.contains("Domain"));
    let secret = path.rsplit('.').next().unwrap();
    assert!(!secure.head.contains(secret), "{}", secure.head);
    let plain = open("app.ana.example", "").await;
    assert!(plain.field("set-cookie")[0].starts_with("ggrok-share-"));
    for host in ["other.ana.example", "example"] {
        let other = open(host, "").await;
        assert_eq!(
            (other.status(), other.error()),
            (410, Some("link-over")),
            "{host}"
        );
        assert!(other.field("set-cookie").is_empty());
    }
}

/// What a link opened.
struct UnderWay {
    wires: Wires,
    /// The path of the link.
    link: String,
    /// A response that has begun, a call without one, and an upgraded connection: the visitor's ends and
    /// the app's.
    streaming: (Wire, Wire),
    waiting: (Wire, Wire),
    upgraded: (Wire, Wire),
}

impl UnderWay {
    /// Sees that all of it breaks off.
    async fn breaks_off(self) {
        let (mut waiting, local) = self.waiting;
        let answer = waiting.head().await;
        assert!(answer.starts_with("HTTP/1.1 410 "), "{answer}");
        assert_eq!(fields(&answer, "x-ggrok-error"), ["link-over"]);
        for cut in [self.streaming.0, self.upgraded.0, self.upgraded.1, local] {
            assert_eq!(cut.rest().await, b"");
        }
    }
}

/// Lets a visitor in by a link that was made with a token of ana's.
async fn under_way(relay: Relay, token: &str) -> UnderWay {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap().to_string().parse().unwrap();
    let mut settings = ggrok_client::Config::new(relay.address.to_string().parse().unwrap(), local);
    settings.claim = ggrok_client::Claim::OtherHost("app.ana.example".parse().unwrap());
    settings.token = ggrok_client::Token::new("k-ana");
    settings.rules.links_only = true;
    let client = Client::ready(settings).await;
    let wires = Wires {
        listener,
        relay,
        client,
    };
    let relay = wires.relay.address;
    let link = made(relay, token, None).await;
    let opened = raw(
        relay,
        format!("GET {link} HTTP/1.1\r\nHost: app.ana.example\r\nConnection: close\r\n\r\n"),
    )
    .await;
    let cookie = opened.field("set-cookie")[0].split(';').next().unwrap();
    let get = format!("GET / HTTP/1.1\r\nHost: app.ana.example\r\nCookie: {cookie}\r\n");
    let (mut streaming, mut local, _) = wires.call(format!("{get}\r\n")).await;
    local
        .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nstart")
        .await;
    streaming.head().await;
    assert_eq!(streaming.exactly(5).await, b"start");
    let upgrade = format!("{get}Connection: Upgrade\r\nUpgrade: weird/7\r\n\r\n");
    let (mut upgraded, mut socket, _) = wires.call(upgrade).await;
    socket
        .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n\r\n")
        .await;
    upgraded.head().await;
    upgraded.send("to").await;
    assert_eq!(socket.exactly(2).await, b"to");
    let (waiting, unanswered, _) = wires.call(format!("{get}\r\n")).await;
    UnderWay {
        wires,
        link,
        streaming: (streaming, local),
        waiting: (waiting, unanswered),
        upgraded: (upgraded, socket),
    }
}

#[tokio::test]
async fn what_a_link_opened_breaks_off_when_it_is_revoked() {
    let relay = Relay::with(owners).await;
    let under_way = under_way(relay, "k-ana").await;
    let relay = under_way.wires.relay.address;
    let id = under_way
        .link
        .strip_prefix("/_ggrok/share/")
        .unwrap()
        .split('.')
        .next()
        .unwrap();
    let revoked = ask(relay, &format!("DELETE /_ggrok/shares/{id}"), "k-ana").await;
    assert_eq!(revoked.status(), 204);
    under_way.breaks_off().await;
}

/// The owners of [`Owners`], who have a second token each, `l-NAME`. What those granted can be revoked.
struct WithRevocable(CancellationToken);

impl Authenticate for WithRevocable {
    async fn authenticate(&self, request: &mut Parts) -> Result<Grant, Denied> {
        let token = take_token(&mut request.headers).ok_or(Denied::NoToken)?;
        let text = token.to_str().map_err(|_| Denied::WrongToken)?;
        let first = text.replacen("l-", "k-", 1);
        let is_second = first != text;
        request
            .headers
            .insert("x-ggrok-token", first.parse().unwrap());
        let grant = Owners.authenticate(request).await?;
        Ok(if is_second {
            grant.unless_cancelled(self.0.clone())
        } else {
            grant
        })
    }
}

#[tokio::test]
async fn what_a_link_opened_breaks_off_with_the_token_that_made_it() {
    let revoked = CancellationToken::new();
    let access = Access::by(WithRevocable(revoked.clone()));
    let relay = Relay::with(|config| config.access = access).await;
    let under_way = under_way(relay, "l-ana").await;
    revoked.cancel();
    // The owner's tunnel is by another token, and stays.
    assert_eq!(under_way.wires.relay.tunnels().await, 1);
    under_way.breaks_off().await;
}

#[tokio::test]
async fn the_api_is_the_owners_alone() {
    let (relay, _origin, _client) = of_owners().await;
    let relay = relay.address;
    let asked = json!({ "host": "app.ana.example", "seconds": 60 });
    for (token, fields, status, code) in [
        ("k-bob", "", 404, "unknown-host"),
        ("guess", "", 401, "wrong-token"),
        (
            "k-ana",
            "Origin: https://evil.example\r\n",
            403,
            "from-a-page",
        ),
        (
            "k-ana",
            "Sec-Fetch-Site: cross-site\r\n",
            403,
            "from-a-page",
        ),
    ] {
        let answer = make(relay, token, &asked, fields).await;
        assert_eq!(
            (answer.status(), answer.error()),
            (status, Some(code)),
            "{token} {fields}"
        );
    }
    made(relay, "k-ana", Some(1)).await;
    let list = async |token| {
        let listed = ask(relay, "GET /_ggrok/shares", token).await;
        let links: Vec<Value> = serde_json::from_slice(&listed.body).unwrap();
        assert!(links.iter().all(|link| link.get("address").is_none()));
        links
    };
    let links = list("k-ana").await;
    assert_eq!((links.len(), list("k-bob").await.len()), (1, 0));
    let revoke = format!("DELETE /_ggrok/shares/{}", links[0]["id"].as_str().unwrap());
    let theirs = ask(relay, &revoke, "k-bob").await;
    assert_eq!(
        (theirs.status(), theirs.error()),
        (404, Some("unknown-link"))
    );
    assert_eq!(list("k-ana").await.len(), 1);
    for bad in [
        json!({}),
        json!([]),
        json!({ "seconds": 0 }),
        json!({ "seconds": 2_592_001 }),
        json!({ "seconds": -1 }),
        json!({ "seconds": 60, "uses": 0 }),
        json!({ "seconds": 60, "uses": 101 }),
        json!({ "seconds": 60, "path": "checkout" }),
        json!({ "seconds": 60, "path": "//evil.example" }),
        json!({ "seconds": 60, "host": "a.example", "name": "a" }),
        json!({ "seconds": 60, "more": true }),
        json!({ "seconds": 60, "path": format!("/{}", "a".repeat(5000)) }),
    ] {
        let answer = make(relay, "k-ana", &bad, "").await;
        assert_eq!(
            (answer.status(), answer.error()),
            (400, Some("bad-share")),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn an_open_relay_makes_no_links() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let _client = Client::start(&relay, &origin).await;
    let answer = make(relay.address, "", &json!({ "seconds": 60 }), "").await;
    assert_eq!((answer.status(), answer.error()), (403, Some("open-relay")));
    let listed = ask(relay.address, "GET /_ggrok/shares", "").await;
    assert_eq!((listed.status(), listed.error()), (403, Some("open-relay")));
}

#[tokio::test]
async fn a_name_is_shared_at_its_host_while_its_client_is_away_too() {
    let relay = Relay::with(|config| {
        owners(config);
        config.domain = Some("example".parse().unwrap());
    })
    .await;
    let origin = Origin::start(ok).await;
    let mut settings = config(&relay, &origin);
    settings.claim = ggrok_client::Claim::Mirror(ggrok_client::Mirror::new("app".parse().unwrap()));
    settings.token = ggrok_client::Token::new("k-ana");
    let client = Client::ready(settings).await;
    let share = async |token| {
        let answer = make(
            relay.address,
            token,
            &json!({ "name": "app", "seconds": 60 }),
            "",
        )
        .await;
        // A refusal is told in words.
        let link: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status(), link["host"].clone(), link["open"].clone())
    };
    // Without rules everybody is let in, and the owner is told so.
    assert_eq!(
        share("k-ana").await,
        (201, json!("app.example"), json!(true))
    );
    assert_eq!(share("k-bob").await.0, 404);
    client.stop().await.unwrap();
    eventually("the client is away", async || {
        (relay.tunnels().await == 0).then_some(())
    })
    .await;
    assert_eq!(
        share("k-ana").await,
        (201, json!("app.example"), Value::Null)
    );
}
