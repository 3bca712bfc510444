//! What a visitor sends arrives at the local server, and what that answers comes back, in every
//! dialect.

use bytes::Bytes;
use ggrok_client::{Dialect, Event, LocalAddress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    CLOSE, Client, Origin, Relay, Seen, Setup, config, fields, get, in_every_dialect, raw,
};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

fn bytes(setup: &Setup, request: &str, body: &[u8]) -> Vec<u8> {
    let address = setup.relay.address;
    let mut bytes = request.replace("HOST", &address.to_string()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[tokio::test]
async fn passes_the_target_as_it_came() {
    in_every_dialect(ok, async |setup| {
        for target in [
            "/", "/?", "/??", "/a%2Fb//c", "//double", "/./x", "/a/../b", "/%2e%2e/x", "/%00", "/;a=b;c",
            "/|", "/{}", "/[]", "/'", "/*", "/a+b", "/:x", "/@x", "/?q='x'&%zz", "/?a=b?c/../d", "/\u{fc}n\u{ef}",
            "/?u=http://evil.example/", "/~u/$&,=!()",
        ] {
            let answer = setup.get(target).await;
            assert_eq!(answer.status(), 200, "{target}: {}", answer.text());
            let latin: String = target.bytes().map(char::from).collect();
            assert_eq!(setup.origin.last().target(), latin);
        }
        let host = setup.relay.address;
        setup.ask(format!("GET http://{host}/abs?q HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(setup.origin.last().target(), "/abs?q");
        assert_eq!(setup.origin.last().field("host"), [host.to_string()]);
        setup.ask(format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(setup.origin.last().line(), "OPTIONS * HTTP/1.1");
    })
    .await;
}

#[tokio::test]
async fn passes_methods_and_fields_and_adds_none() {
    in_every_dialect(ok, async |setup| {
        let host = setup.relay.address.to_string();
        for method in ["GET", "HEAD", "PROPFIND", "M-SEARCH", "get", "DELETE"] {
            let request = "/ HTTP/1.1\r\nHost: HOST\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-A: 2\r\nX-B: caf\u{e9}\r\nX-A: 1\r\nX-Empty:\r\nCookie: a=1; b=2\r\nTE: trailers\r\nKeep-Alive: 5\r\n\r\n";
            setup.ask(bytes(&setup, &format!("{method} {request}"), b"")).await;
            let seen = setup.origin.last();
            assert_eq!(seen.line(), format!("{method} / HTTP/1.1"));
            assert_eq!(seen.field("host"), [&host]);
            assert_eq!(seen.field("x-a"), ["2", "1"]);
            assert_eq!(seen.field("x-b"), ["caf\u{c3}\u{a9}"]);
            assert_eq!(seen.field("x-empty"), [""]);
            assert_eq!(seen.field("cookie"), ["a=1; b=2"]);
            // `TE: trailers` has to be named there, and is carried in one dialect alone.
            let named = vec!["te"; seen.field("te").len()];
            assert_eq!(seen.field("connection"), named);
            for absent in ["x-hop", "keep-alive", "accept", "user-agent", "accept-encoding", "content-length", "transfer-encoding"] {
                assert!(seen.field(absent).is_empty(), "{method}: {absent} in {}", seen.head);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn passes_request_bodies() {
    in_every_dialect(ok, async |setup| {
        let text = "{\"k\":\"h\u{e9}\u{4f60}\\u0000\"}\r\n\u{0}".as_bytes();
        let length = text.len();
        let head = format!("POST / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        setup.ask(bytes(&setup, &head, text)).await;
        assert_eq!(setup.origin.last().body, text);
        assert_eq!(setup.origin.last().field("content-length"), [length.to_string()]);

        let chunked = "PUT / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        setup.ask(bytes(&setup, chunked, b"")).await;
        assert_eq!(setup.origin.last().body, b"hello world");

        let empty = "POST / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        setup.ask(bytes(&setup, empty, b"")).await;
        assert_eq!(setup.origin.last().field("content-length"), ["0"]);

        let large = Bytes::from(vec![b'\n'; 3_000_000]);
        let head = "POST / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nContent-Length: 3000000\r\nExpect: 100-continue\r\n\r\n";
        let answer = setup.ask(bytes(&setup, head, &large)).await;
        assert!(answer.head.starts_with("HTTP/1.1 100 Continue"), "{}", answer.head);
        assert_eq!(setup.origin.last().body, large);
        assert!(setup.origin.last().field("expect").is_empty());
    })
    .await;
}

fn by_path(seen: &Seen) -> Vec<u8> {
    match seen.target() {
        "/cookies" => b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nSet-Cookie: a=3\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/binary" => [&b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 256\r\n\r\n"[..], &(0..=255).collect::<Vec<u8>>()].concat(),
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n3\r\n\x1f\x8b\x00\r\n2\r\nde\r\n0\r\n\r\n".to_vec(),
        "/redirect" => b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/x?y#z\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/none" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/same" => b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n".to_vec(),
        "/odd" => b"HTTP/1.1 299 Strange\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/old" => [b"HTTP/1.0 200 OK\r\n", CLOSE, b"\r\nuntil the end"].concat(),
        "/hop" => b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Ggrok-Error: forged\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/head" if seen.line().starts_with("HEAD") => b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_vec(),
    }
}

#[tokio::test]
async fn passes_responses_as_they_came() {
    in_every_dialect(by_path, async |setup| {
        let cookies = setup.get("/cookies").await;
        assert_eq!(cookies.field("set-cookie"), ["a=1; Path=/", "b=2", "a=3"]);
        assert_eq!(cookies.field("x-empty"), [""]);
        assert_eq!(cookies.field("content-length"), ["0"]);

        assert_eq!(
            setup.get("/binary").await.body,
            (0..=255).collect::<Vec<u8>>()
        );
        let chunked = setup.get("/chunked").await;
        assert_eq!(chunked.field("content-encoding"), ["gzip"]);
        assert_eq!(chunked.whole().unwrap(), b"\x1f\x8b\x00de");

        let redirect = setup.get("/redirect").await;
        assert_eq!(
            (redirect.status(), redirect.field("location")),
            (302, vec!["http://elsewhere.example/x?y#z"])
        );
        assert_eq!(setup.origin.seen().len(), 4);

        let none = setup.get("/none").await;
        assert_eq!((none.status(), none.body.len()), (204, 0));
        assert!(none.field("content-length").is_empty());
        let same = setup.get("/same").await;
        assert_eq!((same.status(), same.body.len()), (304, 0));
        assert_eq!(same.field("etag"), ["\"x\""]);

        assert_eq!(setup.get("/odd").await.status(), 299);
        let old = setup.get("/old").await;
        assert_eq!(old.whole().unwrap(), b"until the end");
        let hop = setup.get("/hop").await;
        for absent in ["x-hop", "keep-alive", "x-ggrok-error"] {
            assert!(hop.field(absent).is_empty(), "{absent} in {}", hop.head);
        }
        let missing = setup.get("/missing").await;
        assert_eq!(
            (missing.status(), missing.error(), missing.text()),
            (404, None, "none")
        );

        let head = setup
            .ask(bytes(
                &setup,
                "HEAD /head HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
                b"",
            ))
            .await;
        assert_eq!(head.field("content-length"), ["12345"]);
        assert!(head.body.is_empty());
    })
    .await;
}

#[tokio::test]
async fn answers_pipelined_requests_in_order() {
    in_every_dialect(
        |seen| {
            let target = seen.target();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}",
                target.len()
            )
            .into_bytes()
        },
        async |setup| {
            let requests: String = (0..20)
                .map(|number| {
                    let close = if number == 19 {
                        "Connection: close\r\n"
                    } else {
                        ""
                    };
                    format!("GET /{number:02} HTTP/1.1\r\nHost: HOST\r\n{close}\r\n")
                })
                .collect();
            let answer = setup.ask(bytes(&setup, &requests, b"")).await;
            let text = format!("{}{}", answer.head, answer.text());
            let paths: Vec<_> = text
                .lines()
                .filter_map(|line| line.get(..3).filter(|path| path.starts_with('/')))
                .collect();
            let expected: Vec<_> = (0..20).map(|number| format!("/{number:02}")).collect();
            assert_eq!(paths, expected);
        },
    )
    .await;
}

#[tokio::test]
async fn speaks_http_1_0_with_an_old_visitor() {
    in_every_dialect(by_path, async |setup| {
        let answer = setup
            .ask(bytes(
                &setup,
                "GET /chunked HTTP/1.0\r\nHost: HOST\r\n\r\n",
                b"",
            ))
            .await;
        assert!(answer.field("transfer-encoding").is_empty());
        assert_eq!(answer.body, b"\x1f\x8b\x00de");
        assert_eq!(setup.origin.last().line(), "GET /chunked HTTP/1.1");
    })
    .await;
}

#[tokio::test]
async fn tells_the_visitor_that_the_local_server_is_down() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let settings = config(&relay, &origin);
    drop(origin);
    let mut client = Client::ready(settings).await;
    let answer = get(relay.address, "/").await;
    assert_eq!(
        (answer.status(), answer.error()),
        (502, Some("local-unreachable"))
    );
    assert!(answer.text().contains("not running"), "{}", answer.text());
    let Event::Answered { status, error, .. } = client.answered().await else {
        unreachable!()
    };
    assert_eq!(status, 502);
    assert!(error.unwrap().contains("refused"));
    // The client goes on: it is asked once more.
    assert_eq!(get(relay.address, "/").await.status(), 502);
}

#[tokio::test]
async fn says_of_a_local_server_that_it_cannot_reach_no_more_than_that() {
    let relay = Relay::start().await;
    let origin = Origin::start(ok).await;
    let mut settings = config(&relay, &origin);
    // A broadcast has no connections, so nothing is asked of the network.
    let nowhere: LocalAddress = "http://255.255.255.255:9".parse().unwrap();
    settings.upstream = nowhere.into();
    let _client = Client::ready(settings).await;
    let answer = get(relay.address, "/").await;
    assert_eq!(
        (answer.status(), answer.error()),
        (502, Some("local-unreachable"))
    );
    let text = answer.text();
    assert!(text.contains("cannot reach the address"), "{text}");
    assert!(!text.contains("not running"), "{text}");
}

#[tokio::test]
async fn tells_the_visitor_that_the_local_server_sent_nonsense_or_broke_off() {
    let nonsense = |seen: &Seen| match seen.target() {
        "/nonsense" => [b"hello\r\n", CLOSE].concat(),
        "/silence" => [CLOSE].concat()[..0].to_vec(),
        "/lengths" => [
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n",
            CLOSE,
            b"\r\nhi",
        ]
        .concat(),
        "/cut" => [
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n",
            CLOSE,
            b"\r\nhi",
        ]
        .concat(),
        "/cut-chunk" => [
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
            CLOSE,
            b"\r\n5\r\nhi",
        ]
        .concat(),
        _ => ok(seen),
    };
    in_every_dialect(nonsense, async |setup| {
        for path in ["/cut", "/cut-chunk"] {
            let answer = setup.get(path).await;
            let broken = answer.status() == 200 && answer.whole().is_none();
            assert!(
                broken || answer.error() == Some("local-broken"),
                "{path}: {answer:?}"
            );
        }
        for path in ["/nonsense", "/lengths"] {
            let answer = setup.get(path).await;
            assert_eq!(
                (answer.status(), answer.error()),
                (502, Some("local-broken")),
                "{path}"
            );
        }
        assert_eq!(setup.get("/ok").await.status(), 200);
    })
    .await;
}

#[tokio::test]
async fn gives_up_a_local_server_that_does_not_answer() {
    let relay = Relay::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = Origin::serve(listener, |seen| {
        if seen.target() == "/slow" {
            Vec::new()
        } else {
            ok(seen)
        }
    });
    let mut settings = config(&relay, &origin);
    settings.dialect = Some(Dialect::Ggrok);
    settings.local_timeout = std::time::Duration::from_millis(100);
    let _client = Client::ready(settings).await;
    let slow = get(relay.address, "/slow").await;
    assert_eq!(
        (slow.status(), slow.error()),
        (504, Some("local-timed-out"))
    );
    assert_eq!(get(relay.address, "/").await.status(), 200);
}

#[tokio::test]
async fn finds_a_local_server_on_either_loopback() {
    for loopback in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(loopback).await else {
            eprintln!("skipped: this machine has no {loopback}");
            continue;
        };
        let origin = Origin::serve(listener, ok);
        let relay = Relay::start().await;
        let mut settings = config(&relay, &origin);
        let local = LocalAddress::port(origin.address.port());
        settings.upstream = local.into();
        let _client = Client::ready(settings).await;
        assert_eq!(get(relay.address, "/").await.status(), 200, "{loopback}");
    }
}

#[tokio::test]
async fn uses_a_local_connection_again_and_survives_its_silent_end() {
    in_every_dialect(ok, async |setup| {
        for _ in 0..10 {
            assert_eq!(setup.get("/").await.status(), 200);
        }
        // One more was opened at the start, to see whether anybody is there.
        assert!(
            setup.origin.connections() <= 2,
            "{}",
            setup.origin.connections()
        );
    })
    .await;
    // A server that closes after each response without saying so.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                stream
                    .write_all(&ok(&Seen {
                        head: String::new(),
                        body: vec![],
                    }))
                    .await
                    .unwrap();
            }
        }
    });
    let relay = Relay::start().await;
    let relay_address = relay.address.to_string().parse().unwrap();
    let _client = Client::ready(ggrok_client::Config::new(
        relay_address,
        address.to_string().parse().unwrap(),
    ))
    .await;
    for number in 0..300 {
        assert_eq!(
            get(relay.address, "/").await.status(),
            200,
            "request {number}"
        );
    }
}

#[tokio::test]
async fn passes_large_heads_of_responses_and_no_endless_ones() {
    let app = |seen: &Seen| {
        let length: usize = seen.target().trim_start_matches('/').parse().unwrap();
        let field = "x".repeat(length);
        format!("HTTP/1.1 200 OK\r\nX-Long: {field}\r\nContent-Length: 2\r\n\r\nhi").into_bytes()
    };
    in_every_dialect(app, async |setup| {
        let large = setup.get("/100000").await;
        assert_eq!((large.status(), large.text()), (200, "hi"));
        assert_eq!(large.field("x-long")[0].len(), 100_000);
        let endless = setup.get("/1000000").await;
        assert_eq!(endless.status(), 502);
        assert_eq!(endless.field("x-ggrok-error"), ["local-broken"]);
    })
    .await;
}

/// A local server that breaks off at the second request of its first connection, and answers all others. It
/// gives out the heads of the one that it broke off and of the next.
async fn breaks_off_once(listener: TcpListener) -> [String; 2] {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut first = head_of(&mut stream).await;
    while first.is_empty() {
        // Somebody who only looked whether anybody is there.
        stream = listener.accept().await.unwrap().0;
        first = head_of(&mut stream).await;
    }
    stream.write_all(&answer()).await.unwrap();
    let broken_off = head_of(&mut stream).await;
    drop(stream);
    let (mut stream, _) = listener.accept().await.unwrap();
    let repeated = head_of(&mut stream).await;
    stream.write_all(&answer()).await.unwrap();
    [broken_off, repeated]
}

fn answer() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

async fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn sends_the_same_request_again_where_the_local_connection_broke() {
    for (dialect, host_header) in [
        (Dialect::V2, "preserve"),
        (Dialect::V2, "rewrite"),
        (Dialect::Ggrok, "rewrite"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let heads = tokio::spawn(breaks_off_once(listener));
        let relay = Relay::start().await;
        let address = relay.address.to_string();
        let mut settings =
            ggrok_client::Config::new(address.parse().unwrap(), local.to_string().parse().unwrap());
        settings.dialect = Some(dialect);
        settings.host_header = host_header.parse().unwrap();
        let _client = Client::ready(settings).await;
        assert_eq!(get(relay.address, "/").await.status(), 200);
        let request = format!(
            "GET /again?a=%20b HTTP/1.1\r\nHost: {address}\r\nReferer: http://{address}/a\r\nX-A: \"1\"\r\nX-A: 2\r\n\
             TE: trailers\r\nConnection: te, close\r\n\r\n"
        );
        let answer = raw(relay.address, request).await;
        assert_eq!((answer.status(), answer.text()), (200, "hi"), "{dialect}");
        let [broken_off, repeated] = heads.await.unwrap();
        assert_eq!(broken_off, repeated);
        let line = "GET /again?a=%20b HTTP/1.1\r\n";
        assert!(repeated.starts_with(line), "{repeated}");
        let host = if host_header == "rewrite" {
            local.to_string()
        } else {
            address
        };
        assert_eq!(fields(&repeated, "host"), [&*host]);
        assert_eq!(fields(&repeated, "referer"), [format!("http://{host}/a")]);
        assert_eq!(fields(&repeated, "x-a"), ["\"1\"", "2"]);
    }
}
