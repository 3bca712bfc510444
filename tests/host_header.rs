//! An app that is told another host than its visitors use, and the person who is told of that.

use axum::Router;
use axum::routing::any;
use ggrok_client::{Claim, Config, Dialect, Event, HostCheck, HostHeader, LocalService, Mirror};
use http::HeaderMap;
use http::header::{HOST, LOCATION};

use crate::support::{
    Answer, Client, Origin, Program, Relay, Seen, Wire, Wires, config, fields, get, output, raw,
};

const PUBLIC: &str = "blog.tunnel.test";

/// A local server at which visitors from a host of their own arrive, by https.
struct Setup {
    origin: Origin,
    relay: Relay,
    client: Client,
    /// What the person was told to do.
    remedies: Vec<&'static str>,
}

impl Setup {
    async fn start(dialect: Dialect, host_header: &str, app: fn(&Seen) -> Vec<u8>) -> Self {
        let relay = Relay::with(|config| {
            config.trusted_hops = 1;
            config.domain = Some("tunnel.test".parse().unwrap());
        })
        .await;
        let origin = Origin::start(app).await;
        let mut settings = config(&relay, &origin);
        settings.dialect = Some(dialect);
        settings.claim = match dialect {
            Dialect::MagicMirror => Claim::Mirror(Mirror::new("blog".parse().unwrap())),
            _ => Claim::OtherHost(PUBLIC.parse().unwrap()),
        };
        settings.host_header = host_header.parse().unwrap();
        let client = Client::ready(settings).await;
        Self {
            origin,
            relay,
            client,
            remedies: Vec::new(),
        }
    }

    /// Sends a request of the visitor's, from its line and some fields.
    async fn visit(&self, line: &str, fields: &str) -> Answer {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {PUBLIC}\r\nX-Forwarded-Proto: https\r\n{fields}Connection: close\r\n\r\n"
        );
        raw(self.relay.address, request).await
    }
}

async fn in_every_dialect(
    host_header: &str,
    app: fn(&Seen) -> Vec<u8>,
    scenario: impl AsyncFn(Setup),
) {
    for dialect in [Dialect::V2, Dialect::Ggrok, Dialect::MagicMirror] {
        println!("{host_header} in {dialect}");
        scenario(Setup::start(dialect, host_header, app).await).await;
    }
}

/// An app that believes what Host says, and takes forms from its own pages alone.
fn app(seen: &Seen) -> Vec<u8> {
    let host = seen.field("host")[0];
    let own = format!("http://{host}");
    let domain = host.split(':').next().unwrap();
    if seen.field("origin") != [&*own] {
        return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec();
    }
    if !seen.field("upgrade").is_empty() {
        return format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\nSet-Cookie: s=1; Domain={domain}\r\n\r\nhello").into_bytes();
    }
    format!(
        "HTTP/1.1 303 See Other\r\nLocation: {own}/welcome?from={own}/\r\nContent-Location: {own}\r\n\
         Set-Cookie: session=1; Domain={domain}; Path=/\r\nSet-Cookie: b=2\r\nSet-Cookie: c=3; Domain=.{domain}\r\n\
         Access-Control-Allow-Origin: {own}\r\nLink: <{own}/2>; rel=next\r\nRefresh: 5; url={own}/\r\n\
         Content-Length: {}\r\n\r\n{own}",
        own.len(),
    )
    .into_bytes()
}

const FORM: &str = "Origin: https://blog.tunnel.test\r\nReferer: https://blog.tunnel.test/login?a=b\r\nX-Other: https://blog.tunnel.test\r\n";

#[tokio::test]
async fn logs_in_at_an_app_that_is_told_its_own_host() {
    for host_header in ["rewrite", "app.test:8080"] {
        in_every_dialect(host_header, app, async |setup| {
            let host = match host_header {
                "rewrite" => setup.origin.address.to_string(),
                host => host.to_owned(),
            };
            let answer = setup.visit("POST /login", FORM).await;
            let seen = setup.origin.last();
            assert_eq!(seen.field("host"), [&*host]);
            assert_eq!(seen.field("origin"), [format!("http://{host}")]);
            assert_eq!(seen.field("referer"), [format!("http://{host}/login?a=b")]);
            assert_eq!(seen.field("x-other"), ["https://blog.tunnel.test"]);
            assert_eq!(seen.field("x-forwarded-host"), [PUBLIC]);

            assert_eq!(answer.status(), 303);
            let public = "https://blog.tunnel.test";
            let welcome = format!("{public}/welcome?from=http://{host}/");
            assert_eq!(answer.field("location"), [welcome]);
            assert_eq!(answer.field("content-location"), [public]);
            let cookies = ["session=1; Path=/", "b=2", "c=3"];
            assert_eq!(answer.field("set-cookie"), cookies);
            assert_eq!(answer.field("access-control-allow-origin"), [public]);
            assert_eq!(answer.field("link"), [format!("<{public}/2>; rel=next")]);
            assert_eq!(answer.field("refresh"), [format!("5; url={public}/")]);
            // Pages are the app's business.
            assert_eq!(answer.whole().unwrap(), format!("http://{host}").as_bytes());

            let evil = "Origin: https://evil.example\r\n";
            assert_eq!(setup.visit("POST /login", evil).await.status(), 403);
            assert_eq!(
                setup.origin.last().field("origin"),
                ["https://evil.example"]
            );
        })
        .await;
    }
}

#[tokio::test]
async fn leaves_everything_as_it_is_by_default() {
    in_every_dialect("preserve", app, async |setup| {
        let fields = "Origin: http://blog.tunnel.test\r\nReferer: https://blog.tunnel.test/\r\n";
        let answer = setup.visit("POST /login", fields).await;
        let seen = setup.origin.last();
        assert_eq!(seen.field("host"), [PUBLIC]);
        assert_eq!(seen.field("origin"), ["http://blog.tunnel.test"]);
        assert_eq!(seen.field("referer"), ["https://blog.tunnel.test/"]);
        let location = "http://blog.tunnel.test/welcome?from=http://blog.tunnel.test/";
        assert_eq!(answer.field("location"), [location]);
        let cookie = "session=1; Domain=blog.tunnel.test; Path=/";
        assert_eq!(answer.field("set-cookie")[0], cookie);
    })
    .await;
}

#[tokio::test]
async fn tells_upgraded_connections_the_same() {
    let setup = Setup::start(Dialect::V2, "rewrite", app).await;
    let mut visitor = Wire::connect(setup.relay.address).await;
    let request = "GET /hmr HTTP/1.1\r\nHost: blog.tunnel.test\r\nX-Forwarded-Proto: https\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n";
    visitor.send(format!("{request}{FORM}\r\n")).await;
    let head = visitor.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(fields(&head, "set-cookie"), ["s=1"]);
    assert_eq!(visitor.exactly(5).await, b"hello");
}

#[tokio::test]
async fn has_no_public_origin_to_show_to_callers_of_the_api() {
    let setup = Setup::start(Dialect::MagicMirror, "app.test", app).await;
    let host = setup.relay.address;
    let call = format!(
        "GET /_ggrok/mirrors/blog/x HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: none\r\nOrigin: http://app.test\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(host, call).await;
    assert_eq!(setup.origin.last().field("host"), ["app.test"]);
    assert_eq!(answer.field("content-location"), ["http://app.test"]);
}

#[tokio::test]
async fn tells_a_service_within_the_program_localhost() {
    let redirect = async |headers: HeaderMap| {
        let host = headers[HOST].to_str().unwrap();
        (
            [(LOCATION, format!("http://{host}/there"))],
            host.to_owned(),
        )
    };
    let relay = Relay::start().await;
    let service = LocalService::new(Router::new().route("/", any(redirect)));
    let mut settings = Config::with_upstream(relay.address.to_string().parse().unwrap(), service);
    settings.host_header = HostHeader::Rewrite;
    let _client = Client::ready(settings).await;
    let answer = get(relay.address, "/").await;
    assert_eq!(answer.text(), "localhost");
    assert_eq!(
        answer.field("location"),
        [format!("http://{}/there", relay.address)]
    );
}

/// What development servers answer to a host that they do not know.
fn refusing(seen: &Seen) -> Vec<u8> {
    let (status, fields, body) = match seen.target() {
        "/django-origin" => (403, "Content-Type: text/html; charset=utf-8\r\n", "<h1>Forbidden</h1><pre>Origin checking failed - https://blog.tunnel.test does not match any trusted origins.</pre>"),
        "/django-referer" => (403, "Content-Type: text/html; charset=utf-8\r\n", "<pre>Referer checking failed - https://blog.tunnel.test/ does not match any trusted origins.</pre>"),
        "/flask" => (400, "Content-Type: text/html\r\n", "<!doctype html><title>400 Bad Request</title><p>The referrer does not match the host.</p>"),
        "/home-assistant" => (400, "Content-Type: text/plain; charset=utf-8\r\n", "400: Bad Request"),
        "/jupyter" => (403, "Content-Type: text/html\r\nServer: TornadoServer/6.5\r\n", "<!DOCTYPE HTML><img src=\"logo.png\" alt=\"Jupyter Server\"/><h1>403 : Forbidden</h1>"),
        "/sveltekit" => (403, "Content-Type: text/plain\r\n", "Cross-site POST form submissions are forbidden"),
        "/sinatra" => (403, "Content-Type: text/plain\r\n", "Host not permitted"),
        "/tls-nginx" => (400, "Content-Type: text/html\r\n", "<h1>400 Bad Request</h1><center>The plain HTTP request was sent to HTTPS port</center>"),
        "/tls-go" => (400, "", "Client sent an HTTP request to an HTTPS server.\n"),
        "/json" => (403, "Content-Type: application/json\r\n", "{}"),
        "/well" => (200, "", "well"),
        "/next" => return b"Unauthorized".to_vec(),
        "/alert" => return b"\x15\x03\x01\x00\x02\x02\x46".to_vec(),
        "/closed" => return b"HTTP/1.1 200 OK\r\nconnection: close\r\n".to_vec(),
        "/vite" => (403, "Content-Type: text/plain\r\n", "Blocked request. This host (\"blog.tunnel.test\") is not allowed.\nTo allow this host, add it."),
        "/webpack-4" => (200, "Content-Type: text/html; charset=utf-8\r\n", "Invalid Host header"),
        "/webpack-5" => (403, "", "Invalid Host header"),
        "/django" => (400, "Content-Type: text/html; charset=utf-8\r\n", "<!DOCTYPE html>\n<html lang=\"en\">\n<title>DisallowedHost\n          at /</title>\n<pre class=\"exception_value\">Invalid HTTP_HOST header: &#x27;blog.tunnel.test&#x27;."),
        "/rails" => (403, "Content-Type: text/html; charset=utf-8\r\n", "<style>body { margin: 0px; }</style>\n<h1>Blocked hosts: blog.tunnel.test</h1>"),
        "/pieces" => return b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nDisallo\r\n7\r\nwedHost\r\n0\r\n\r\n".to_vec(),
        _ => (403, "Content-Type: text/html\r\n", "Members alone."),
    };
    format!(
        "HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Setup {
    /// The checks that the person has heard of until the call was answered.
    async fn told(&mut self, target: &str) -> Vec<HostCheck> {
        let answer = self.visit(&format!("GET {target}"), "").await;
        let direct = refusing(&self.origin.last());
        let direct = String::from_utf8(direct).unwrap();
        let body = direct.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        if !["/pieces", "/next", "/alert", "/closed"].contains(&target) {
            assert_eq!(answer.whole().unwrap(), body.as_bytes(), "{target}");
        }
        let mut checks = Vec::new();
        loop {
            match self.client.event().await {
                Event::HostRefused {
                    check,
                    host,
                    remedy,
                } => {
                    assert_eq!(host, PUBLIC);
                    self.remedies.push(remedy);
                    checks.push(check);
                }
                Event::Answered { .. } => return checks,
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn tells_the_person_once_of_each_host_check() {
    for dialect in [Dialect::V2, Dialect::Ggrok, Dialect::MagicMirror] {
        let mut setup = Setup::start(dialect, "preserve", refusing).await;
        for (target, check) in [
            ("/other", Some(HostCheck::Unknown)),
            ("/vite", Some(HostCheck::Vite)),
            ("/webpack-4", Some(HostCheck::Webpack)),
            ("/webpack-5", None),
            ("/rails", Some(HostCheck::Rails)),
            ("/pieces", Some(HostCheck::Django)),
            ("/django", None),
            ("/vite", None),
        ] {
            let told = setup.told(target).await;
            assert_eq!(told.first().copied(), check, "{target} in {dialect}");
            assert!(told.len() <= 1);
        }
        let mut setup = Setup::start(dialect, "preserve", refusing).await;
        assert_eq!(setup.told("/webpack-5").await, [HostCheck::Webpack]);
        assert_eq!(setup.told("/django").await, [HostCheck::Django]);
        let mut setup = Setup::start(dialect, "rewrite", refusing).await;
        assert_eq!(setup.told("/vite").await, []);
    }
}

/// The refusal that the first answer of an app is taken for, with what helps against it.
async fn first(host_header: &str, target: &str) -> Option<(HostCheck, &'static str)> {
    let mut setup = Setup::start(Dialect::V2, host_header, refusing).await;
    let told = setup.told(target).await;
    assert!(told.len() <= 1, "{target}: {told:?}");
    Some((*told.first()?, setup.remedies[0]))
}

#[tokio::test]
async fn tells_what_helps_against_each_refusal() {
    for (target, check, helps, helps_rewritten) in [
        ("/vite", HostCheck::Vite, "rewrite", None),
        (
            "/django-origin",
            HostCheck::DjangoOrigin,
            "CSRF_TRUSTED_ORIGINS",
            Some("preserve"),
        ),
        (
            "/django-referer",
            HostCheck::DjangoOrigin,
            "rewrite",
            Some("preserve"),
        ),
        ("/flask", HostCheck::FlaskWtf, "rewrite", Some("preserve")),
        (
            "/sveltekit",
            HostCheck::SvelteKit,
            "rewrite",
            Some("preserve"),
        ),
        (
            "/home-assistant",
            HostCheck::HomeAssistant,
            "trusted_proxies",
            Some("trusted_proxies"),
        ),
        ("/jupyter", HostCheck::Jupyter, "rewrite", None),
        (
            "/sinatra",
            HostCheck::Sinatra,
            "permitted_hosts",
            Some("permitted_hosts"),
        ),
        (
            "/tls-nginx",
            HostCheck::Tls,
            "plain HTTP",
            Some("plain HTTP"),
        ),
        ("/tls-go", HostCheck::Tls, "plain HTTP", Some("plain HTTP")),
        ("/alert", HostCheck::Tls, "plain HTTP", Some("plain HTTP")),
        (
            "/closed",
            HostCheck::Closed,
            "plain HTTP",
            Some("plain HTTP"),
        ),
        ("/next", HostCheck::NextJs, "allowedDevOrigins", None),
        ("/other", HostCheck::Unknown, "rewrite", None),
        ("/json", HostCheck::Unknown, "rewrite", None),
    ] {
        let (told, remedy) = first("preserve", target).await.expect(target);
        assert_eq!(told, check, "{target}");
        assert!(remedy.contains(helps), "{target}: {remedy}");
        let rewritten = first("rewrite", target).await;
        assert_eq!(
            rewritten.map(|(check, _)| check),
            helps_rewritten.map(|_| check),
            "{target}"
        );
        if let (Some((_, remedy)), Some(helps)) = (rewritten, helps_rewritten) {
            assert!(remedy.contains(helps), "{target}: {remedy}");
        }
    }
}

#[tokio::test]
async fn takes_no_later_refusal_for_one_of_all_requests() {
    let mut setup = Setup::start(Dialect::V2, "preserve", refusing).await;
    for target in ["/well", "/other", "/json", "/home-assistant", "/closed"] {
        assert_eq!(setup.told(target).await, [], "{target}");
    }
    assert_eq!(
        setup.told("/django-origin").await,
        [HostCheck::DjangoOrigin]
    );
    assert_eq!(setup.told("/django-referer").await, []);
}

#[tokio::test]
async fn names_the_setting_where_a_handshake_is_answered_without_http() {
    let mut setup = Setup::start(Dialect::V2, "preserve", refusing).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let request = format!("GET /next HTTP/1.1\r\nHost: {PUBLIC}\r\n{upgrade}\r\n");
    let mut visitor = Wire::connect(setup.relay.address).await;
    visitor.send(request).await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 502 "));
    loop {
        if let Event::HostRefused { check, remedy, .. } = setup.client.event().await {
            assert_eq!(check, HostCheck::NextJs);
            assert!(remedy.contains("--host-header rewrite"));
            break;
        }
    }
}

#[tokio::test]
async fn holds_no_byte_of_what_may_be_a_host_check() {
    let wires = Wires::start().await;
    let (mut visitor, mut local, _) = wires.call("GET / HTTP/1.1\r\nHOST\r\n\r\n").await;
    local.send("HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let head = visitor.head().await;
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    for piece in ["Blocked", " request"] {
        local.send_chunk(piece.as_bytes()).await;
        assert_eq!(visitor.chunks(piece.len()).await, piece.as_bytes());
    }
}

#[tokio::test]
async fn says_which_values_the_flag_takes() {
    for value in ["http://app.test", "app.test/x", "app.test:99999"] {
        let mut by_flag = Program::command("ggrok-client");
        by_flag.args(["--server", "relay.example", "--host-header", value, "3000"]);
        let mut by_variable = Program::command("ggrok-client");
        by_variable.args(["--server", "relay.example", "3000"]);
        by_variable.env("GGROK_HOST_HEADER", value);
        for command in [&mut by_flag, &mut by_variable] {
            let (code, _, error) = output(command).await;
            assert_eq!(code, Some(2), "{error}");
            let says = "give preserve, rewrite, or a host alone";
            assert!(error.contains(says) && error.contains(value), "{error}");
        }
    }
}
