//! The API by which owners list their hosts, close what serves them, and give them free.

use ggrok_client::{Claim, LocalAddress, RunError, Token};
use ggrok_protocol::Dialect;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    Answer, Client, Mirror, Origin, Relay, Seen, Stage, Wire, answered, ask, config, eventually,
    handshake, listed, owners, raw, refused,
};

const LIST: &str = "GET /_ggrok/hosts";

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

/// A relay of several owners, with a domain.
async fn relay() -> Relay {
    Relay::with(|config| {
        owners(config);
        config.domain = Some("tunnel.example".parse().unwrap());
    })
    .await
}

/// A client of ours that serves a host for an owner.
async fn serving(relay: &Relay, origin: &Origin, host: &str, owner: &str) -> Client {
    let mut settings = config(relay, origin);
    settings.claim = Claim::OtherHost(host.parse().unwrap());
    settings.token = Token::new(&format!("k-{owner}"));
    Client::ready(settings).await
}

/// Registers a mirror that is served at its host in the domain too.
async fn public(relay: &Relay, name: &str, owner: &str) -> Mirror {
    let target = format!("/_ggrok/mirror?name={name}&public=true");
    let handshake = handshake(relay.address, &target, &format!("k-{owner}"));
    Mirror::dialled(handshake, |_| answered(200, "ok")).await
}

async fn hosts(relay: &Relay, owner: &str) -> Vec<Value> {
    let answer = ask(relay.address, LIST, &format!("k-{owner}")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

async fn release(relay: &Relay, host: &str, owner: &str) -> Answer {
    let line = format!("DELETE /_ggrok/hosts/{host}");
    ask(relay.address, &line, &format!("k-{owner}")).await
}

/// Asks with fields besides, or without any.
async fn send(relay: &Relay, line: &str, fields: &str) -> Answer {
    let host = relay.address;
    let head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    raw(host, head).await
}

async fn visit(relay: &Relay, host: &str) -> (u16, Option<String>) {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    seen(&raw(relay.address, request).await)
}

fn seen(answer: &Answer) -> (u16, Option<String>) {
    (answer.status(), answer.error().map(ToOwned::to_owned))
}

fn error(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

/// Waits until the relay has noticed that the client of a host is gone.
async fn away(relay: &Relay, host: &str) {
    eventually("its client is away", async || {
        (visit(relay, host).await == error(503, "offline")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn lists_the_hosts_of_an_owner_be_their_clients_here_or_away() {
    let relay = relay().await;
    let origin = Origin::start(ok).await;
    assert_eq!(hosts(&relay, "ana").await, [Value::Null; 0]);
    let _app = serving(&relay, &origin, "app.ana.example", "ana").await;
    let _blog = public(&relay, "blog", "ana").await;
    let _named = Mirror::saying(relay.address, "named", "k-ana", "ok").await;
    let _bens = serving(&relay, &origin, "app.ben.example", "ben").await;
    let gone = serving(&relay, &origin, "gone.ana.example", "ana").await;
    gone.stop().await.unwrap();
    away(&relay, "gone.ana.example").await;
    assert_eq!(visit(&relay, "app.ana.example").await, (200, None));

    let listed = hosts(&relay, "ana").await;
    let names = listed.iter().map(|host| host["host"].as_str().unwrap());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["app.ana.example", "blog.tunnel.example", "gone.ana.example"]
    );
    let app = &listed[0];
    for (member, expected) in [
        ("owner", json!("ana")),
        ("online", json!(true)),
        ("name", Value::Null),
        ("dialect", json!("ggrok.v2")),
        ("peer", json!("127.0.0.1")),
        ("calls", json!(1)),
    ] {
        assert_eq!(app[member], expected, "{member}");
    }
    for member in ["connected_since", "last_seen"] {
        let time = app[member].as_str().unwrap();
        assert!(time.ends_with('Z'), "{time}");
    }
    assert_eq!(listed[1]["name"], "blog");
    assert_eq!(listed[1]["dialect"], "magic-mirror");
    let away = json!({
        "host": "gone.ana.example", "owner": "ana", "online": false, "name": null, "dialect": null,
        "peer": null, "connected_since": null, "last_seen": null, "calls": null,
    });
    assert_eq!(listed[2], away);

    let bens = hosts(&relay, "ben").await;
    assert_eq!(bens.len(), 1);
    assert_eq!(bens[0]["host"], "app.ben.example");
}

#[tokio::test]
async fn closes_what_serves_a_host_and_its_client_does_not_come_back() {
    let relay = relay().await;
    let origin = Origin::start(ok).await;
    for dialect in [Dialect::V2, Dialect::Ggrok] {
        let mut settings = config(&relay, &origin);
        settings.claim = Claim::OtherHost("app.ana.example".parse().unwrap());
        settings.token = Token::new("k-ana");
        settings.dialect = Some(dialect);
        let mut client = Client::ready(settings).await;
        assert_eq!(visit(&relay, "app.ana.example").await, (200, None));
        let answer = release(&relay, "app.ana.example", "ana").await;
        assert_eq!((answer.status(), answer.body.len()), (204, 0));
        // Whether its client has taken that already or not.
        let visited = visit(&relay, "app.ana.example").await;
        assert_eq!(visited, error(404, "unknown-host"), "{dialect}");
        assert_eq!(hosts(&relay, "ana").await, [Value::Null; 0]);
        assert!(matches!(client.ended().await, Err(RunError::Removed)));
        let again = release(&relay, "app.ana.example", "ana").await;
        assert_eq!(seen(&again), error(404, "unknown-host"));
    }
}

#[tokio::test]
async fn what_is_under_way_breaks_off_when_a_host_is_closed() {
    let relay = relay().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local: LocalAddress = listener.local_addr().unwrap().to_string().parse().unwrap();
    let mut settings = ggrok_client::Config::new(relay.address.to_string().parse().unwrap(), local);
    settings.claim = Claim::OtherHost("app.ana.example".parse().unwrap());
    settings.token = Token::new("k-ana");
    let client = Client::ready(settings).await;
    let mut visitor = Wire::connect(relay.address).await;
    visitor
        .send("GET / HTTP/1.1\r\nHost: app.ana.example\r\n\r\n")
        .await;
    let stage = Stage {
        dialect: Dialect::V2,
        listener,
        relay,
        client,
    };
    let mut local = stage.local().await;
    local.head().await;
    local
        .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        .await;
    visitor.head().await;
    assert_eq!(visitor.exactly(4).await, b"half");
    let released = release(&stage.relay, "app.ana.example", "ana").await;
    assert_eq!(released.status(), 204);
    assert_eq!(visitor.rest().await, b"");
}

#[tokio::test]
async fn a_host_that_is_given_free_is_anothers_to_have() {
    let relay = relay().await;
    let taken = || {
        let target = "/_ggrok/mirror?name=blog&public=true";
        refused(handshake(relay.address, target, "k-ben"))
    };
    let mut anas = public(&relay, "blog", "ana").await;
    assert_eq!(taken().await.0, 409);
    assert_eq!(
        release(&relay, "blog.tunnel.example", "ana").await.status(),
        204
    );
    let bens = public(&relay, "blog", "ben").await;
    assert_eq!(visit(&relay, "blog.tunnel.example").await, (200, None));
    assert_eq!(bens.asked().len(), 1);
    assert_eq!(anas.closed().await, Some(4410));
    // The mirror is as one whose client has left: its name is its owner's alone.
    let answer = ask(relay.address, "GET /_ggrok/mirrors/blog/", "k-ana").await;
    assert_eq!(seen(&answer), error(503, "mirror-offline"));
    assert!(listed(relay.address, "k-ana").await.is_empty());
    assert_eq!(relay.tunnels().await, 1);

    drop(bens);
    away(&relay, "blog.tunnel.example").await;
    assert_eq!(
        release(&relay, "blog.tunnel.example", "ben").await.status(),
        204
    );
    let visited = visit(&relay, "blog.tunnel.example").await;
    assert_eq!(visited, error(404, "unknown-host"));
    let _anas = public(&relay, "blog", "ana").await;
}

#[tokio::test]
async fn no_owner_sees_or_closes_anothers_host() {
    let relay = relay().await;
    let origin = Origin::start(ok).await;
    let _here = serving(&relay, &origin, "here.ana.example", "ana").await;
    let away_client = serving(&relay, &origin, "away.ana.example", "ana").await;
    away_client.stop().await.unwrap();
    away(&relay, "away.ana.example").await;
    let unknown = release(&relay, "none.ana.example", "ben").await;
    assert_eq!(seen(&unknown), error(404, "unknown-host"));
    for host in ["here.ana.example", "away.ana.example"] {
        let answer = release(&relay, host, "ben").await;
        // As if there were none: not a byte tells the two apart.
        assert_eq!(seen(&answer), seen(&unknown), "{host}");
        assert_eq!(answer.body, unknown.body, "{host}");
    }
    assert_eq!(hosts(&relay, "ben").await, [Value::Null; 0]);
    assert_eq!(visit(&relay, "here.ana.example").await, (200, None));
    away(&relay, "away.ana.example").await;
}

#[tokio::test]
async fn knows_a_host_by_all_its_spellings_and_nothing_else() {
    let relay = relay().await;
    let origin = Origin::start(ok).await;
    for spelling in [
        "APP.Ana.example",
        "app.ana.example.",
        "app.ana.example:8080",
        "App.ana.example.:443",
        "%61pp.ana.example",
        "app.ana.example?x=1",
    ] {
        let mut client = serving(&relay, &origin, "app.ana.example", "ana").await;
        let answer = release(&relay, spelling, "ana").await;
        assert_eq!(answer.status(), 204, "{spelling}");
        assert!(matches!(client.ended().await, Err(RunError::Removed)));
    }
    let _client = serving(&relay, &origin, "app.ana.example", "ana").await;
    for other in [
        "a.app.ana.example",
        "ana.example",
        "app.ana.example..",
        "u@app.ana.example",
        "app.ana.example%2F",
        "app.ana.example%00",
        "%ff",
        "*",
        "..",
    ] {
        let answer = release(&relay, other, "ana").await;
        assert_eq!(seen(&answer), error(404, "unknown-host"), "{other}");
    }
    assert_eq!(visit(&relay, "app.ana.example").await, (200, None));
}

#[tokio::test]
async fn counts_wrong_tokens_and_takes_none_from_an_address_that_guesses() {
    let relay = Relay::with(|config| {
        owners(config);
        config.wrong_tokens = 4;
    })
    .await;
    let origin = Origin::start(ok).await;
    let _client = serving(&relay, &origin, "app.ana.example", "ana").await;
    let lines = [LIST, "DELETE /_ggrok/hosts/app.ana.example"];
    for line in lines {
        let answer = send(&relay, line, "").await;
        assert_eq!(seen(&answer), error(401, "no-token"));
    }
    for _ in 0..2 {
        for line in lines {
            let answer = ask(relay.address, line, "guess").await;
            assert_eq!(seen(&answer), error(401, "wrong-token"));
            assert_eq!(answer.field("www-authenticate"), ["Bearer"]);
        }
    }
    for line in lines {
        let answer = ask(relay.address, line, "k-ana").await;
        assert_eq!(seen(&answer), error(429, "too-many-attempts"));
    }
    assert_eq!(visit(&relay, "app.ana.example").await, (200, None));
}

#[tokio::test]
async fn does_nothing_for_a_page_of_another_site() {
    let relay = relay().await;
    let origin = Origin::start(ok).await;
    let _client = serving(&relay, &origin, "app.ana.example", "ana").await;
    for fields in [
        "Origin: https://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ] {
        for line in [LIST, "DELETE /_ggrok/hosts/app.ana.example"] {
            let fields = format!("X-Ggrok-Token: k-ana\r\n{fields}\r\n");
            let answer = send(&relay, line, &fields).await;
            assert_eq!(seen(&answer), error(403, "from-a-page"), "{fields}");
        }
    }
    // A form of a page can be sent by no method that does anything.
    for line in [
        "POST /_ggrok/hosts/app.ana.example",
        "GET /_ggrok/hosts/app.ana.example",
        "DELETE /_ggrok/hosts",
    ] {
        let answer = ask(relay.address, line, "k-ana").await;
        assert_eq!(seen(&answer), error(405, "method-not-allowed"), "{line}");
    }
    assert_eq!(visit(&relay, "app.ana.example").await, (200, None));
}

#[tokio::test]
async fn an_open_relay_lists_and_closes_nothing() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let _client = Client::start(&relay, &origin).await;
    let host = relay.address.ip();
    for line in [LIST, &format!("DELETE /_ggrok/hosts/{host}")] {
        for token in ["", "guess"] {
            let answer = ask(relay.address, line, token).await;
            assert_eq!(seen(&answer), error(403, "open-relay"), "{line}");
        }
    }
    assert_eq!(visit(&relay, &host.to_string()).await, (200, None));
}
