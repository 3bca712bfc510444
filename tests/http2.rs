//! Visitors who speak HTTP/2 in the clear reach the same apps, and can hurt nobody else.

use std::time::Duration;

use bytes::Bytes;
use ggrok_client::Dialect;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Version};
use tokio::time::timeout;

use crate::support::{
    CONTINUATION, Client, DATA, END_STREAM, Frame, Frames, GOAWAY, HEADERS, Http2, Origin,
    PATIENCE, PREFACE, RST_STREAM, Relay, Seen, Wire, Wires, config, error, eventually, exchange,
    fields, fields_block, get, noise, piece, whole,
};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

async fn relay() -> Relay {
    Relay::with(|config| config.http2 = true).await
}

/// A relay, a client and a local server that answers "hi".
async fn setup() -> (Relay, Origin, Client) {
    let (relay, origin) = (relay().await, Origin::start(ok).await);
    let client = Client::start(&relay, &origin).await;
    (relay, origin, client)
}

async fn wires() -> Wires {
    Wires::before(relay().await).await
}

/// The pseudo fields of a GET for this host.
fn get_of<'a>(authority: &'a str, target: &'a str) -> Vec<(&'a str, &'a [u8])> {
    vec![
        (":method", b"GET"),
        (":scheme", b"http"),
        (":authority", authority.as_bytes()),
        (":path", target.as_bytes()),
    ]
}

#[tokio::test]
async fn is_not_spoken_unless_it_is_switched_on() {
    let relay = Relay::start().await;
    let told = exchange(relay.address, PREFACE).await;
    assert!(
        told.is_empty() || told.starts_with(b"HTTP/1.1 400 "),
        "{told:?}"
    );
}

#[tokio::test]
async fn serves_both_versions_on_one_port() {
    let (relay, origin, _client) = setup().await;
    let mut visitor = Http2::connect(relay.address).await;
    let request = visitor.request("GET", "/a//b/../%2e?q=%zz");
    let answer = visitor.ask(request.header("x-field", "value")).await;
    assert_eq!(
        (answer.version(), answer.status().as_u16()),
        (Version::HTTP_2, 200)
    );
    assert_eq!(answer.body(), b"hi");
    let seen = origin.last();
    assert_eq!(seen.line(), "GET /a//b/../%2e?q=%zz HTTP/1.1");
    assert_eq!(seen.field("host"), [relay.address.to_string()]);
    assert_eq!(seen.field("x-field"), ["value"]);
    assert_eq!(seen.field("x-forwarded-for"), ["127.0.0.1"]);

    assert_eq!(get(relay.address, "/").await.text(), "hi");
    // Each beginning of HTTP/1 may come in pieces, and some begin as the preface does.
    for method in ["POST", "PRI", "P"] {
        let mut visitor = Wire::connect(relay.address).await;
        let request = format!(
            "{method} /x HTTP/1.1\r\nHost: {}\r\nContent-Length: 4\r\n\r\nbody",
            relay.address
        );
        for byte in request.as_bytes() {
            visitor.send([*byte]).await;
        }
        assert!(visitor.head().await.starts_with("HTTP/1.1 200 "));
        assert_eq!(origin.last().line(), format!("{method} /x HTTP/1.1"));
        assert_eq!(origin.last().body, b"body");
    }
    let nearly = [&PREFACE[..23], b"\r"].concat();
    let told = exchange(relay.address, &nearly).await;
    assert!(told.is_empty() || told.starts_with(b"HTTP/1.1 400 "));
}

#[tokio::test]
async fn carries_requests_and_responses_in_every_dialect() {
    for dialect in [Dialect::V2, Dialect::Ggrok] {
        let origin = Origin::start(|seen| {
            let (length, body) = (seen.body.len(), String::from_utf8_lossy(&seen.body));
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
        });
        let (relay, origin) = (relay().await, origin.await);
        let mut settings = config(&relay, &origin);
        settings.dialect = Some(dialect);
        let _client = Client::ready(settings).await;
        let mut visitor = Http2::connect(relay.address).await;
        let request = visitor.request("POST", "/").header("content-length", "4");
        let mut call = visitor.begin(request).await;
        call.body.send_data("body".into(), true).unwrap();
        let response = call.response.await.unwrap();
        assert_eq!(response.headers()["content-length"], "4");
        assert_eq!(whole(response.into_body()).await.unwrap().0, b"body");
        let head = visitor.head(visitor.request("HEAD", "/")).await;
        assert_eq!(head.headers()["content-length"], "0");
    }
}

#[tokio::test]
async fn gives_no_answer_of_its_own_to_head_a_body() {
    let relay = Relay::with(|config| {
        config.http2 = true;
        config.settling_time = Duration::ZERO;
    })
    .await;
    let mut visitor = Http2::connect(relay.address).await;
    let unknown = visitor.head(visitor.request("HEAD", "/")).await;
    assert_eq!(
        error(&unknown),
        (404.try_into().unwrap(), Some("unknown-host"))
    );
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local: ggrok_client::LocalAddress =
        nobody.local_addr().unwrap().to_string().parse().unwrap();
    drop(nobody);
    let server = relay.address.to_string().parse().unwrap();
    let client = Client::ready(ggrok_client::Config::new(server, local)).await;
    let broken = visitor.head(visitor.request("HEAD", "/")).await;
    assert_eq!(
        error(&broken),
        (502.try_into().unwrap(), Some("local-unreachable"))
    );
    drop(client);
    for response in [unknown, broken] {
        let length: usize = response.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(length > 0);
        // The library takes a body here for an error of the protocol.
        assert_eq!(whole(response.into_body()).await.unwrap().0, b"");
    }
    assert_eq!(visitor.get("/").await.status().as_u16() / 100, 5);
}

#[tokio::test]
async fn takes_the_host_from_the_authority() {
    let (relay, origin, _client) = setup().await;
    let authority = relay.address.to_string();
    let mut visitor = Http2::connect(relay.address).await;
    for (host, expected) in [
        (&*authority, (200, None)),
        ("other.example", (400, Some("bad-host"))),
        ("", (400, Some("bad-host"))),
    ] {
        let request = visitor.request("GET", "/").header("host", host);
        let answer = visitor.ask(request).await;
        let (status, code) = error(&answer);
        assert_eq!((status.as_u16(), code), expected, "{host:?}");
        assert!(!answer.headers().contains_key("connection"));
    }
    assert_eq!(origin.last().field("host"), [&*authority]);
    let answer = visitor
        .ask(http::Request::get("http://who@x.example/").method("GET"))
        .await;
    assert_eq!(error(&answer), (400.try_into().unwrap(), Some("bad-host")));

    // RFC 9113, section 8.3.1: without :authority it is in the Host field.
    let mut frames = Frames::connect(relay.address).await;
    let fields = [
        (":method", &b"GET"[..]),
        (":scheme", b"http"),
        (":path", b"/by-host"),
        ("host", authority.as_bytes()),
    ];
    frames.send(&Frame::headers(1, END_STREAM, &fields)).await;
    assert_eq!(frames.next_of(&[HEADERS, RST_STREAM]).await.kind, HEADERS);
    assert_eq!(origin.last().target(), "/by-host");
}

#[tokio::test]
async fn joins_the_crumbs_of_cookies() {
    let (relay, origin, _client) = setup().await;
    let mut visitor = Http2::connect(relay.address).await;
    let crumbs = visitor
        .request("GET", "/")
        .header("cookie", "a=1")
        .header("x-between", "1")
        .header("cookie", "b=2; c=3")
        .header("cookie", HeaderValue::from_bytes(b"d=\xff").unwrap());
    visitor.ask(crumbs).await;
    assert_eq!(origin.last().field("cookie"), ["a=1; b=2; c=3; d=\u{ff}"]);
    let whole = visitor.request("GET", "/").header("cookie", "a=1; b=2");
    visitor.ask(whole).await;
    assert_eq!(origin.last().field("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn resets_what_is_malformed() {
    let (relay, origin, _client) = setup().await;
    let authority = relay.address.to_string();
    let mut frames = Frames::connect(relay.address).await;
    let mut stream = 1;
    for (name, value) in [
        ("connection", &b"close"[..]),
        ("connection", b"x-a"),
        ("proxy-connection", b"keep-alive"),
        ("keep-alive", b"timeout=5"),
        ("transfer-encoding", b"chunked"),
        ("upgrade", b"websocket"),
        ("te", b"gzip"),
        (":path", b"/twice"),
    ] {
        let mut fields = get_of(&authority, "/malformed");
        fields.push((name, value));
        frames
            .send(&Frame::headers(stream, END_STREAM, &fields))
            .await;
        let answer = frames.next_of(&[RST_STREAM, HEADERS, GOAWAY]).await;
        assert_eq!(
            (answer.kind, answer.stream, answer.reason()),
            (RST_STREAM, stream, Reason::PROTOCOL_ERROR),
            "{name}: {value:?}"
        );
        stream += 2;
    }
    // Nothing of that is the connection's fault, but what is no field at all.
    for (name, value) in [
        ("X-Upper", &b"1"[..]),
        ("x y", b"1"),
        ("", b"1"),
        (":unknown", b"1"),
        ("x-line", b"a\r\nx-smuggled: 1"),
        ("x-line", b"a\nb"),
        ("x-nul", b"a\0b"),
        (":authority", b"a\r\nb"),
        (":path", b"/a b"),
        (":path", b"/a\r\nx: 1"),
        (":method", b"GET /smuggled"),
    ] {
        let mut frames = Frames::connect(relay.address).await;
        let mut fields = get_of(&authority, "/malformed");
        fields.retain(|(pseudo, _)| *pseudo != name);
        fields.push((name, value));
        frames.send(&Frame::headers(1, END_STREAM, &fields)).await;
        let answer = frames.next_of(&[RST_STREAM, HEADERS, GOAWAY]).await;
        assert_ne!(answer.kind, HEADERS, "{name}: {value:?}");
        assert_eq!(answer.reason(), Reason::PROTOCOL_ERROR);
    }
    assert_eq!(origin.seen().len(), 0);
    let well = get_of(&authority, "/well");
    frames
        .send(&Frame::headers(stream, END_STREAM, &well))
        .await;
    assert_eq!(frames.next_of(&[HEADERS, RST_STREAM]).await.kind, HEADERS);
}

#[tokio::test]
async fn offers_neither_connect_nor_upgrades() {
    let (relay, origin, _client) = setup().await;
    let mut visitor = Http2::connect(relay.address).await;
    let connect = http::Request::connect("other.example:443");
    let answer = visitor.ask(connect).await;
    assert_eq!(
        error(&answer),
        (405.try_into().unwrap(), Some("method-not-allowed"))
    );
    assert!(answer.headers().contains_key("allow"));
    let answer = visitor.get("/$$ggrok").await;
    assert_eq!(
        error(&answer),
        (426.try_into().unwrap(), Some("not-a-websocket"))
    );
    for gone in ["connection", "upgrade"] {
        assert!(!answer.headers().contains_key(gone), "{gone}");
    }
    // RFC 8441, which is not offered.
    let authority = relay.address.to_string();
    let mut frames = Frames::connect(relay.address).await;
    let mut fields = get_of(&authority, "/socket");
    fields[0].1 = b"CONNECT";
    fields.push((":protocol", b"websocket"));
    frames.send(&Frame::headers(1, 0, &fields)).await;
    let answer = frames.next_of(&[RST_STREAM, HEADERS]).await;
    assert_eq!(
        (answer.kind, answer.reason()),
        (RST_STREAM, Reason::PROTOCOL_ERROR)
    );
    assert_eq!(origin.seen().len(), 0);
}

#[tokio::test]
async fn takes_no_target_that_is_no_path() {
    let (relay, origin, _client) = setup().await;
    let authority = relay.address.to_string();
    let mut frames = Frames::connect(relay.address).await;
    for (stream, target) in [(1, "x"), (3, "*"), (5, "http://a/"), (7, "?q"), (9, "")] {
        let fields = get_of(&authority, target);
        frames
            .send(&Frame::headers(stream, END_STREAM, &fields))
            .await;
        let answer = frames.next_of(&[RST_STREAM, HEADERS]).await;
        assert_eq!(answer.stream, stream, "{target:?}");
    }
    assert_eq!(origin.seen().len(), 0);
    let mut fields = get_of(&authority, "*");
    fields[0].1 = b"OPTIONS";
    frames.send(&Frame::headers(11, END_STREAM, &fields)).await;
    assert_eq!(frames.next_of(&[RST_STREAM, HEADERS]).await.kind, HEADERS);
    assert_eq!(origin.last().line(), "OPTIONS * HTTP/1.1");
}

#[tokio::test]
async fn refuses_a_head_over_the_limit() {
    let (relay, origin, _client) = setup().await;
    let mut visitor = Http2::connect(relay.address).await;
    let over = visitor
        .request("GET", "/")
        .header("x-large", "x".repeat(66_000));
    let answer = visitor.ask(over).await;
    assert_eq!(
        error(&answer),
        (431.try_into().unwrap(), Some("head-too-large"))
    );

    // Far over it the library refuses, and reads no more than it has to.
    let authority = relay.address.to_string();
    let mut frames = Frames::connect(relay.address).await;
    let mut fields = get_of(&authority, "/");
    let large = vec![b'x'; 15_000];
    fields.push(("x-large", &large));
    let begun = Frame::new(HEADERS, END_STREAM, 1, fields_block(&fields));
    frames.send(&begun).await;
    let more = Frame::new(CONTINUATION, 0, 1, fields_block(&[("x-large", &large)]));
    let flood = async {
        for _ in 0..1000 {
            frames.wire.try_send(more.bytes()).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    flood.await.ok();
    let answer = frames.next_of(&[HEADERS, GOAWAY]).await;
    assert!(answer.kind == HEADERS || answer.reason() == Reason::ENHANCE_YOUR_CALM);
    frames.wire.rest().await;
    assert_eq!(origin.seen().len(), 0);
}

#[tokio::test]
async fn ends_a_request_whose_body_is_not_as_long_as_announced() {
    let wires = wires().await;
    let authority = wires.relay.address.to_string();
    for (stream, body) in [(1, &b"shor"[..]), (3, b"too long")] {
        let mut frames = Frames::connect(wires.relay.address).await;
        let mut fields = get_of(&authority, "/");
        fields[0].1 = b"POST";
        fields.push(("content-length", b"6"));
        frames.send(&Frame::headers(stream, 0, &fields)).await;
        frames
            .send(&Frame::new(DATA, END_STREAM, stream, body))
            .await;
        let answer = frames.next_of(&[RST_STREAM]).await;
        assert_eq!(
            (answer.stream, answer.reason()),
            (stream, Reason::PROTOCOL_ERROR)
        );
        // Where anything of it came to the local server, it did not come as a whole request.
        let local = timeout(Duration::from_millis(300), wires.local()).await;
        if let Ok(local) = local {
            let seen = String::from_utf8(local.rest().await).unwrap();
            let body = seen.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            assert!(body.len() < 6, "{seen}");
        }
    }
}

#[tokio::test]
async fn carries_bodies_both_ways_as_they_come_and_trailers() {
    let wires = wires().await;
    let mut visitor = Http2::connect(wires.relay.address).await;
    let request = visitor
        .request("POST", "/")
        .header("te", "trailers")
        .header("trailer", "x-sum");
    let mut call = visitor.begin(request).await;
    let mut local = wires.local().await;
    let head = local.head().await;
    assert_eq!(fields(&head, "te"), ["trailers"]);
    assert_eq!(fields(&head, "transfer-encoding"), ["chunked"]);
    local
        .send("HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\r\n")
        .await;
    let response = call.response.await.unwrap();
    for gone in [
        "connection",
        "x-hop",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
    ] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    let mut body = response.into_body();
    for number in 0..50_u8 {
        call.body.send_data(vec![number].into(), false).unwrap();
        assert_eq!(local.chunks(1).await, [number]);
        local.send_chunk(&[number]).await;
        assert_eq!(&piece(&mut body).await.unwrap()[..], [number]);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("12"));
    call.body.send_trailers(trailers).unwrap();
    assert_eq!(local.chunk().await, b"");
    assert_eq!(
        fields(&format!("\n{}", local.head().await), "x-sum"),
        ["12"]
    );
    local.send("0\r\nX-Sum: 34\r\n\r\n").await;
    let (rest, trailers) = whole(body).await.unwrap();
    assert_eq!(rest, b"");
    assert_eq!(trailers.unwrap()["x-sum"], "34");
}

#[tokio::test]
async fn carries_large_bodies() {
    const LARGE: usize = 20 << 20;
    let wires = wires().await;
    let sent = noise(LARGE);
    let mut visitor = Http2::connect(wires.relay.address).await;
    let request = visitor.request("PUT", "/").header("content-length", LARGE);
    let mut call = visitor.begin(request).await;
    let mut local = wires.local().await;
    local.head().await;
    call.body
        .send_data(Bytes::from(sent.clone()), true)
        .unwrap();
    assert!(local.exactly(LARGE).await == sent);
    local
        .send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
        ))
        .await;
    let receiving = async { whole(call.response.await.unwrap().into_body()).await };
    let (received, ()) = tokio::join!(receiving, local.send(&sent));
    assert!(received.unwrap().0 == sent);
}

#[tokio::test]
async fn breaks_visibly_where_the_local_server_breaks_off() {
    let wires = wires().await;
    let mut visitor = Http2::connect(wires.relay.address).await;
    let mut call = visitor.begin(visitor.request("POST", "/")).await;
    call.body.send_data(Bytes::new(), true).unwrap();
    let mut local = wires.local().await;
    local.head().await;
    local
        .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        .await;
    let mut body = call.response.await.unwrap().into_body();
    assert_eq!(&piece(&mut body).await.unwrap()[..], b"half");
    drop(local);
    let broken = piece(&mut body).await.unwrap_err();
    assert_eq!(broken.reason(), Some(Reason::INTERNAL_ERROR));
}

#[tokio::test]
async fn ends_the_local_request_when_the_visitor_resets_it() {
    let wires = wires().await;
    let mut visitor = Http2::connect(wires.relay.address).await;
    // Before the response, within it, and within the request.
    for answered in [false, true] {
        let mut call = visitor.begin(visitor.request("POST", "/")).await;
        call.body.send_data("half".into(), false).unwrap();
        let mut local = wires.local().await;
        local.head().await;
        assert_eq!(local.chunks(4).await, b"half");
        let mut body = None;
        if answered {
            local
                .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                .await;
            body = Some(call.response.await.unwrap().into_body());
        }
        call.body.send_reset(Reason::CANCEL);
        local.rest().await;
        drop(body);
    }
    // The connection goes on.
    let (mut sender, request) = (visitor.sender.clone(), visitor.request("GET", "/"));
    let (response, _) = sender
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    let mut local = wires.local().await;
    local.head().await;
    local.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(response.await.unwrap().status().as_u16(), 204);
}

#[tokio::test]
async fn runs_a_hundred_streams_at_a_time() {
    let wires = wires().await;
    let authority = wires.relay.address.to_string();
    let mut frames = Frames::connect(wires.relay.address).await;
    let request = get_of(&authority, "/");
    let mut locals = Vec::new();
    for number in 0..100 {
        let head = Frame::headers(2 * number + 1, END_STREAM, &request);
        frames.send(&head).await;
        locals.push(wires.local().await);
    }
    frames
        .send(&Frame::headers(201, END_STREAM, &request))
        .await;
    let refused = frames.next_of(&[RST_STREAM]).await;
    assert_eq!(
        (refused.stream, refused.reason()),
        (201, Reason::REFUSED_STREAM)
    );
    for mut local in locals {
        local.head().await;
        local.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    }
    let mut answered: Vec<u32> = Vec::new();
    while answered.len() < 100 {
        answered.push(frames.next_of(&[HEADERS]).await.stream);
    }
    answered.sort_unstable();
    assert!(answered.iter().copied().eq((1..200).step_by(2)));

    // One who keeps the rules waits for its turn.
    drop(frames);
    let origin = Origin::start(ok).await;
    let _client = Client::start(&wires.relay, &origin).await;
    let mut visitor = Http2::connect(wires.relay.address).await;
    let mut calls = Vec::new();
    for _ in 0..300 {
        calls.push(visitor.begin(visitor.request("GET", "/")).await);
        calls
            .last_mut()
            .unwrap()
            .body
            .send_data(Bytes::new(), true)
            .unwrap();
    }
    for call in calls {
        assert_eq!(call.response.await.unwrap().status().as_u16(), 200);
    }
}

#[tokio::test]
async fn a_flood_of_resets_hurts_nobody_else() {
    let (relay, origin, _client) = setup().await;
    let authority = relay.address.to_string();
    let request = get_of(&authority, "/attack");
    let mut flood = Vec::new();
    for number in 0..10_000 {
        let stream = 2 * number + 1;
        flood.extend(Frame::headers(stream, END_STREAM, &request).bytes());
        flood.extend(Frame::reset(stream, Reason::CANCEL).bytes());
    }
    let mut other = Http2::connect(relay.address).await;
    for _ in 0..3 {
        let mut frames = Frames::connect(relay.address).await;
        let flooding = async {
            frames.wire.try_send(&flood).await.ok();
            frames.wire.rest().await
        };
        let visiting = async {
            for _ in 0..50 {
                assert_eq!(get(relay.address, "/").await.text(), "hi");
                assert_eq!(other.get("/").await.body(), b"hi");
            }
        };
        let (told, ()) = tokio::join!(flooding, visiting);
        // It is closed before its end.
        let calm = u32::from(Reason::ENHANCE_YOUR_CALM).to_be_bytes();
        assert!(
            told.is_empty() || told.windows(4).any(|four| four == calm),
            "{told:?}"
        );
    }
    let attacks = origin
        .seen()
        .iter()
        .filter(|seen| seen.target() == "/attack")
        .count();
    assert!(
        attacks < 1000,
        "{attacks} of 30,000 came to the local server"
    );
    eventually("no call is left over", async || {
        let served = get(relay.address, "/").await;
        (served.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn closes_connections_on_which_nothing_happens() {
    let relay = Relay::with(|config| {
        config.http2 = true;
        config.idle_timeout = Duration::from_millis(300);
        config.limits.stream_idle = Duration::from_millis(300);
    })
    .await;
    let origin = Origin::start(ok).await;
    let _client = Client::start(&relay, &origin).await;
    // Silent, in the middle of the preface, behind it, and in the middle of a head.
    let authority = relay.address.to_string();
    let whole = Frame::headers(1, END_STREAM, &get_of(&authority, "/")).bytes();
    let settings = Frame::new(crate::support::SETTINGS, 0, 0, []).bytes();
    let begun = [PREFACE, &settings, &whole[..20]].concat();
    for said in [b"", &PREFACE[..1], &PREFACE[..23], PREFACE, &begun] {
        exchange(relay.address, said).await;
    }
    // One that keeps the rules is told before.
    let mut visitor = Http2::connect(relay.address).await;
    assert_eq!(visitor.get("/").await.body(), b"hi");
    visitor.closed().await.unwrap();
}

#[tokio::test]
async fn keeps_a_connection_on_which_a_stream_runs() {
    let relay = Relay::with(|config| {
        config.http2 = true;
        config.idle_timeout = Duration::from_millis(100);
    })
    .await;
    let wires = Wires::before(relay).await;
    let mut visitor = Http2::connect(wires.relay.address).await;
    let mut call = visitor.begin(visitor.request("GET", "/")).await;
    call.body.send_data(Bytes::new(), true).unwrap();
    let mut local = wires.local().await;
    local.head().await;
    let early = timeout(Duration::from_millis(500), &mut visitor.connection).await;
    assert!(early.is_err(), "the connection was closed: {early:?}");
    local.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(call.response.await.unwrap().status().as_u16(), 204);
    visitor.closed().await.unwrap();
}

#[tokio::test]
async fn resets_a_stream_whose_visitor_takes_nothing_and_no_other() {
    let relay = Relay::with(|config| {
        config.http2 = true;
        config.limits.stream_idle = Duration::from_millis(500);
    })
    .await;
    let wires = Wires::before(relay).await;
    let mut visitor = Http2::connect(wires.relay.address).await;
    let mut stalled = visitor.begin(visitor.request("GET", "/")).await;
    stalled.body.send_data(Bytes::new(), true).unwrap();
    let mut local = wires.local().await;
    local.head().await;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 20);
    local.send(head).await;
    local.send(vec![0; 1 << 20]).await;
    let mut body = stalled.response.await.unwrap().into_body();
    // What is on its way may still come; nothing makes room for more.
    let reset = async {
        loop {
            match body.data().await.unwrap() {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    };
    let reset = timeout(PATIENCE, reset).await.unwrap();
    assert_eq!(reset.reason(), Some(Reason::CANCEL));

    let origin = Origin::start(ok).await;
    let _client = Client::start(&wires.relay, &origin).await;
    assert_eq!(visitor.get("/").await.body(), b"hi");
}

#[tokio::test]
async fn waits_for_no_visitor_who_is_mute_before_it_stops() {
    let mut relay = relay().await;
    let mut mute = Frames::connect(relay.address).await;
    mute.next_of(&[crate::support::SETTINGS]).await;
    let stopped = timeout(PATIENCE, relay.stop()).await;
    stopped.expect("the relay waits").unwrap();
}

#[tokio::test]
async fn finishes_the_streams_in_flight_before_it_stops() {
    let mut wires = wires().await;
    let mut visitor = Http2::connect(wires.relay.address).await;
    let mut call = visitor.begin(visitor.request("GET", "/")).await;
    call.body.send_data(Bytes::new(), true).unwrap();
    let mut local = wires.local().await;
    local.head().await;
    let idle = Http2::connect(wires.relay.address).await;
    let stopping = wires.relay.stop();
    let early = timeout(Duration::from_millis(800), &mut *stopping).await;
    assert!(early.is_err(), "the relay did not wait for the call");
    // It takes no more of them: the visitor is told to go elsewhere.
    let refused = async {
        let mut sender = visitor.sender.clone().ready().await?;
        let request = visitor.request("GET", "/").body(()).unwrap();
        sender.send_request(request, true)?.0.await
    };
    assert!(timeout(PATIENCE, refused).await.unwrap().is_err());
    local
        .send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")
        .await;
    let response = call.response.await.unwrap();
    assert_eq!(whole(response.into_body()).await.unwrap().0, b"late");
    visitor.closed().await.unwrap();
    timeout(Duration::from_secs(5), stopping)
        .await
        .unwrap()
        .unwrap();
    drop(idle);
}

#[tokio::test]
async fn cuts_streams_that_outlast_the_grace_period() {
    let relay = Relay::with(|config| {
        config.http2 = true;
        config.grace_period = Duration::from_millis(500);
    })
    .await;
    let mut wires = Wires::before(relay).await;
    let mut visitor = Http2::connect(wires.relay.address).await;
    let mut call = visitor.begin(visitor.request("GET", "/")).await;
    call.body.send_data(Bytes::new(), true).unwrap();
    let mut local = wires.local().await;
    local.head().await;
    timeout(Duration::from_secs(5), wires.relay.stop())
        .await
        .unwrap()
        .unwrap();
    call.response.await.unwrap_err();
    local.rest().await;
}
