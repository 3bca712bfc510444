//! Bad requests of visitors get a clear answer of the relay's own, and cost nobody else anything.

use std::time::Duration;

use ggrok_protocol::Dialect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, Origin, Relay, Seen, Setup, ask, config, exchange, get, owners, raw};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

async fn setup() -> Setup {
    Setup::start(Origin::start(ok).await).await
}

/// In the dialect that carries one text message each way.
async fn setup_in_ggrok() -> Setup {
    Setup::with(Origin::start(ok).await, Some(Dialect::Ggrok)).await
}

#[tokio::test]
async fn refuses_requests_without_one_valid_host() {
    let setup = setup().await;
    for fields in [
        "",
        "Host: a.example\r\nHost: a.example\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a, b\r\n",
        "Host: u@a\r\n",
        "Host: a/x\r\n",
        "Host: a:99999\r\n",
        "Host: <script>alert(1)</script>\r\n",
    ] {
        let answer = setup.ask(format!("GET / HTTP/1.1\r\n{fields}\r\n")).await;
        assert_eq!(
            (answer.status(), answer.error()),
            (400, Some("bad-host")),
            "{fields}"
        );
        assert_eq!(answer.field("connection"), ["close"]);
        assert!(!answer.text().contains("script"));
    }
    assert_eq!(setup.origin.seen().len(), 0);
}

#[tokio::test]
async fn refuses_methods_and_targets_that_are_for_proxies() {
    let setup = setup().await;
    let host = setup.relay.address;
    for (line, status, error) in [
        ("CONNECT evil.example:443", 405, "method-not-allowed"),
        ("CONNECT /", 405, "method-not-allowed"),
        ("TRACE /", 405, "method-not-allowed"),
        ("GET *", 400, "bad-target"),
        ("GET evil.example:80", 400, "bad-target"),
    ] {
        let answer = setup
            .ask(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(answer.status(), status, "{line}");
        assert_eq!(answer.error().unwrap_or_default(), error, "{line}");
        // RFC 9110, section 15.5.6.
        let allowed = ["GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"];
        let allowed = &allowed[..usize::from(status == 405)];
        assert_eq!(answer.field("allow"), allowed, "{line}");
    }
    assert_eq!(setup.origin.seen().len(), 0);
}

#[tokio::test]
async fn refuses_heads_that_are_too_large() {
    let setup = setup().await;
    let host = setup.relay.address;
    let request = |target: usize, field: usize| {
        let (target, field) = ("a".repeat(target), "b".repeat(field));
        format!(
            "GET /{target} HTTP/1.1\r\nHost: {host}\r\nX-A: {field}\r\nConnection: close\r\n\r\n"
        )
    };
    assert_eq!(setup.ask(request(8000, 0)).await.status(), 200);
    assert_eq!(setup.ask(request(0, 60_000)).await.status(), 200);
    let target = setup.ask(request(40_000, 0)).await;
    assert_eq!(
        (target.status(), target.error()),
        (414, Some("target-too-long"))
    );
    let head = setup.ask(request(0, 70_000)).await;
    assert_eq!((head.status(), head.error()), (431, Some("head-too-large")));
    // Beyond these the HTTP library answers by itself, without a body.
    assert_eq!(setup.ask(request(70_000, 0)).await.status(), 414);
    assert_eq!(setup.ask(request(0, 1_000_000)).await.status(), 431);
    let many = "X-A: 1\r\n".repeat(300);
    let many = setup
        .ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{many}\r\n"))
        .await;
    assert_eq!(many.status(), 431);
}

#[tokio::test]
async fn refuses_bodies_that_the_dialect_does_not_carry() {
    let setup = setup_in_ggrok().await;
    let host = setup.relay.address;
    let post = |body: &[u8]| {
        let length = body.len();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    let binary = setup.ask(post(b"\x00\xff\xfe")).await;
    assert_eq!(
        (binary.status(), binary.error()),
        (501, Some("body-not-text"))
    );
    // The visitor sends it all, and still gets to read the answer.
    let large = setup.ask(post(&vec![b'a'; 20 << 20])).await;
    assert_eq!(
        (large.status(), large.error()),
        (413, Some("body-too-large"))
    );
    let awaits = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    );
    let large = setup.ask(awaits).await;
    assert_eq!(
        (large.status(), large.error()),
        (413, Some("body-too-large"))
    );
    let field = [
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-A: ").as_bytes(),
        b"\xe9\r\n\r\n",
    ]
    .concat();
    let field = setup.ask(field).await;
    assert_eq!(
        (field.status(), field.error()),
        (501, Some("field-not-text"))
    );
    let escape = setup.get("/%zz").await;
    assert_eq!((escape.status(), escape.error()), (400, Some("bad-escape")));
    assert_eq!(setup.origin.seen().len(), 0);
    assert_eq!(setup.get("/").await.status(), 200);
}

#[tokio::test]
async fn refuses_upgrades_and_ignores_http2() {
    let setup = setup_in_ggrok().await;
    let host = setup.relay.address;
    let upgrade = |to: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {to}\r\nHTTP2-Settings: AAMAAABk\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
    };
    let socket = setup.ask(upgrade("websocket")).await;
    assert_eq!(
        (socket.status(), socket.error()),
        (501, Some("upgrade-not-carried"))
    );
    let h2c = setup.ask(upgrade("h2c")).await;
    assert_eq!(h2c.status(), 200);
    let seen = setup.origin.seen();
    for absent in ["upgrade", "http2-settings", "connection"] {
        assert!(seen.iter().all(|seen| seen.field(absent).is_empty()));
    }
}

#[tokio::test]
async fn tells_an_unknown_host_from_one_that_is_offline() {
    let mut setup = setup().await;
    let unknown = setup
        .ask("GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(
        (unknown.status(), unknown.error()),
        (404, Some("unknown-host"))
    );
    assert!(!unknown.text().contains("nobody.example"));
    assert_eq!(setup.get("/").await.status(), 200);

    let settings = config(&setup.relay, &setup.origin);
    let client = std::mem::replace(&mut setup.client, Client::launch(settings));
    // The second client takes over, and the first one ends by itself.
    drop(client);
    setup.client.await_ready().await;
    assert_eq!(setup.get("/").await.status(), 200);
    setup.client.task.abort();
    let offline = crate::support::eventually("the relay sees that the client left", async || {
        let answer = setup.get("/").await;
        (answer.status() == 503).then_some(answer)
    })
    .await;
    assert_eq!(
        (offline.error(), offline.field("retry-after")),
        (Some("offline"), vec!["5"])
    );
}

#[tokio::test]
async fn answers_browsers_with_pages_and_programs_with_json() {
    let relay = Relay::start().await;
    let ask = async |accept: &str| {
        let host = relay.address;
        raw(
            host,
            format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
            ),
        )
        .await
    };
    let page = ask("text/html,*/*;q=0.8").await;
    assert!(page.field("content-type")[0].starts_with("text/html"));
    assert!(page.text().contains("<h1>404 Not Found</h1>"));
    let json = ask("application/json").await;
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["error"], "unknown-host");
    assert_eq!(
        ask("*/*").await.field("content-type"),
        ["text/plain; charset=utf-8"]
    );
}

#[tokio::test]
async fn tells_only_owners_more_than_that_it_is_healthy() {
    let relay = Relay::with(owners).await;
    let health = async |token: &str| {
        let answer = ask(relay.address, "GET /_ggrok/health", token).await;
        assert_eq!(answer.status(), 200);
        answer.text().to_owned()
    };
    let stranger = get(relay.address, "/_ggrok/health").await;
    assert_eq!(
        (stranger.status(), stranger.text()),
        (200, r#"{"status":"ok"}"#)
    );
    for wrong in ["", "guess"] {
        assert_eq!(health(wrong).await, r#"{"status":"ok"}"#, "{wrong}");
    }
    let health: serde_json::Value = serde_json::from_str(&health("k-ana").await).unwrap();
    assert_eq!(health["tunnels"], 0);
    assert!(health["version"].is_string());
}

#[tokio::test]
async fn keeps_its_own_pages_apart() {
    let setup = setup().await;
    let health = setup.get("/_ggrok/health").await;
    let health: serde_json::Value = serde_json::from_slice(&health.body).unwrap();
    assert_eq!(
        (&health["status"], &health["tunnels"]),
        (&"ok".into(), &1.into())
    );
    assert!(health["version"].is_string());
    assert_eq!(
        setup.get("/_ggrok/nothing").await.error(),
        Some("unknown-page")
    );
    let host = setup.relay.address;
    let post = setup.ask(format!("POST /_ggrok/health HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
    assert_eq!(
        (post.status(), post.error()),
        (405, Some("method-not-allowed"))
    );
    assert_eq!(post.field("allow"), ["GET,HEAD"]);
    let register = setup.get("/$$ggrok").await;
    assert_eq!(
        (register.status(), register.error()),
        (426, Some("not-a-websocket"))
    );
    assert_eq!(setup.origin.seen().len(), 0);
}

#[tokio::test]
async fn closes_silent_and_half_sent_connections_in_time() {
    let relay = Relay::with(|config| config.idle_timeout = Duration::from_millis(300)).await;
    let host = relay.address;
    for sent in [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: a",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        // Ends only where the relay closes; whether in time is for `exchange` to say.
        exchange(host, sent.as_bytes()).await;
    }
    // A kept connection is idle in the same way.
    let answers = exchange(
        host,
        format!("GET /_ggrok/health HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(),
    )
    .await;
    assert!(answers.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn refuses_a_body_that_stalls() {
    let relay = Relay::with(|config| config.limits.body_idle = Duration::from_millis(200)).await;
    let origin = Origin::start(ok).await;
    let mut settings = config(&relay, &origin);
    settings.dialect = Some(Dialect::Ggrok);
    let _client = Client::ready(settings).await;
    let host = relay.address;
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream
        .write_all(
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n\r\nhalf").as_bytes(),
        )
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("x-ggrok-error: body-stalled"));
    // The turn was never taken.
    assert_eq!(get(host, "/").await.status(), 200);
}
