//! What HTTP asks of whoever stands between a visitor and an app.

use std::time::Duration;

use ggrok_client::Dialect;
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{
    Answer, Client, Mirror, Origin, Program, Relay, RelayProgram, Seen, Setup, Wires, config,
    exchange, fields, in_every_dialect, noise, owners, raw,
};

fn ok(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

/// Asks by these lines, for the relay's own host.
async fn ask(setup: &Setup, line: &str, fields: &str) -> Answer {
    setup.ask(request(setup, line, fields)).await
}

fn request(setup: &Setup, line: &str, fields: &str) -> String {
    let host = setup.relay.address;
    format!("{line}\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n")
}

fn refused(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status(), answer.error())
}

#[tokio::test]
async fn signs_requests_behind_those_who_have_signed() {
    in_every_dialect(ok, async |setup| {
        let answer = ask(&setup, "GET / HTTP/1.1", "").await;
        assert!(answer.field("via").is_empty());
        assert_eq!(setup.origin.last().field("via"), ["1.1 ggrok"]);
        ask(
            &setup,
            "GET / HTTP/1.0",
            "Via: 1.0 fred, 1.1 p (1.1 ggrok)\r\nVIA: 2 q\r\n",
        )
        .await;
        let signed = ["1.0 fred, 1.1 p (1.1 ggrok)", "2 q", "1.0 ggrok"];
        assert_eq!(setup.origin.last().field("via"), signed);
    })
    .await;

    let relay = Relay::with(|config| config.pseudonym = "second".parse().unwrap()).await;
    let wires = Wires::before(relay).await;
    let upgrade =
        "GET / HTTP/1.1\r\nHOST\r\nConnection: Upgrade\r\nUpgrade: x\r\nVia: 1.1 ggrok\r\n\r\n";
    let (_visitor, _local, head) = wires.call(upgrade).await;
    assert_eq!(fields(&head, "via"), ["1.1 ggrok", "1.1 second"]);
}

#[tokio::test]
async fn tells_a_client_that_forwards_to_its_own_relay() {
    for dialect in [Dialect::V2, Dialect::Ggrok] {
        let relay = Relay::start().await;
        let mut settings = config(&relay, &Origin::start(ok).await);
        let itself: ggrok_client::LocalAddress = relay.address.to_string().parse().unwrap();
        settings.upstream = itself.into();
        settings.dialect = Some(dialect);
        let _client = Client::ready(settings).await;
        let host = relay.address;
        let post = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
        );
        let answer = raw(host, post).await;
        assert_eq!(answer.status(), 508, "{answer:?}");
        assert!(answer.text().contains("not to its own relay"));
        assert!(answer.text().contains("--pseudonym"));
    }
}

#[tokio::test]
async fn ends_a_loop_of_upgrades_and_of_mirrors() {
    let setup = Setup::start(Origin::start(ok).await).await;
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade, close\r\nUpgrade: x\r\nVia: 1.0 a, 1.1 ggrok\r\n\r\n",
        setup.relay.address
    );
    assert_eq!(refused(&setup.ask(upgrade).await), (508, Some("loop")));
    assert!(setup.origin.seen().is_empty());

    let relay = Relay::with(owners).await;
    let mirror = Mirror::saying(relay.address, "app", "k-ana", "ok").await;
    let host = relay.address;
    let call = |fields: &str| {
        raw(
            host,
            format!(
                "GET /_ggrok/mirrors/app/ HTTP/1.1\r\nHost: {host}\r\nX-Ggrok-Token: k-ana\r\nConnection: close\r\n{fields}\r\n"
            ),
        )
    };
    assert_eq!(call("").await.text(), "ok");
    assert_eq!(mirror.last().field("via"), ["1.1 ggrok"]);
    assert_eq!(mirror.last().field("x-request-id").len(), 1);
    let host = host.to_string();
    let forwarded = format!("for=127.0.0.1;host=\"{host}\";proto=http");
    assert_eq!(mirror.last().field("forwarded"), [forwarded]);
    assert_eq!(
        refused(&call("Via: 1.1 ggrok\r\n").await),
        (508, Some("loop"))
    );
}

#[tokio::test]
async fn says_in_the_standard_field_what_the_others_say() {
    let origin = Origin::start(ok).await;
    let relay = Relay::with(|config| config.trusted_hops = 2).await;
    let client = Client::start(&relay, &origin).await;
    let setup = Setup {
        origin,
        relay,
        client,
    };
    let claims = "Forwarded: for=6.6.6.6;proto=gopher\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6, 2001:db8::7, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n";
    ask(&setup, "GET / HTTP/1.1", claims).await;
    let seen = setup.origin.last();
    let host = setup.relay.address;
    let standard = format!("for=\"[2001:db8::7]\";host=\"{host}\";proto=https, for=10.0.0.1");
    assert_eq!(seen.field("forwarded"), [standard]);
    assert_eq!(seen.field("x-forwarded-for"), ["2001:db8::7, 10.0.0.1"]);
    assert!(!seen.head.contains("6.6.6.6"), "{}", seen.head);
}

#[tokio::test]
async fn names_each_call() {
    in_every_dialect(ok, async |setup| {
        let answer = ask(
            &setup,
            "GET / HTTP/1.1",
            "X-Request-ID: from-the/router:1\r\n",
        )
        .await;
        assert!(answer.field("x-request-id").is_empty());
        let seen = setup.origin.last();
        assert_eq!(seen.field("x-request-id"), ["from-the/router:1"]);
        let claims = "X_Request_Id: 6\r\nX-Request-ID: two words\r\nConnection: x-request-id\r\n";
        ask(&setup, "GET / HTTP/1.1", claims).await;
        let seen = setup.origin.last();
        let [id] = seen.field("x-request-id")[..] else {
            panic!("{}", seen.head)
        };
        assert!(
            id.len() == 32 && !seen.head.contains("two words"),
            "{}",
            seen.head
        );
        assert!(seen.field("x_request_id").is_empty());
    })
    .await;
}

#[tokio::test]
async fn both_logs_name_a_call_alike() {
    let mut relay = RelayProgram::start(|command| {
        command.args(["--open", "--log", "debug"]);
    })
    .await;
    let origin = Origin::start(ok).await;
    let (server, local) = (relay.address.to_string(), origin.address.to_string());
    let mut client = Program::start_with_stderr(
        Program::command("ggrok-client")
            .args(["--server", &server, "--local", &local, "--log", "debug"]),
    );
    crate::support::eventually("the client is there", async || {
        let answer = crate::support::get(relay.address, "/").await;
        (answer.status() == 200).then_some(())
    })
    .await;
    let request = format!(
        "GET /a?secret HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nX-Request-ID: id-7\r\n\r\n"
    );
    raw(relay.address, request).await;
    let line = relay.program.line_with("id-7").await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["message"], "answered a call");
    assert_eq!(line["span"]["name"], "call");
    assert_eq!(line["span"]["id"], "id-7");
    assert_eq!(line["span"]["method"], "GET");
    assert_eq!(line["span"]["path"], "/a");
    let line = client.line_with("id-7").await;
    assert!(
        line.contains("answered a call") && !line.contains("secret"),
        "{line}"
    );
}

#[tokio::test]
async fn counts_the_hops_of_options() {
    in_every_dialect(ok, async |setup| {
        for target in ["/", "*"] {
            let line = format!("OPTIONS {target} HTTP/1.1");
            ask(&setup, &line, "Max-Forwards: 2\r\n").await;
            assert_eq!(setup.origin.last().line(), line);
            assert_eq!(setup.origin.last().field("max-forwards"), ["1"]);
            let before = setup.origin.seen().len();
            let answer = ask(&setup, &line, "Max-Forwards: 0\r\n").await;
            assert_eq!(refused(&answer), (204, Some("max-forwards")));
            assert!(answer.field("allow")[0].contains("OPTIONS"));
            assert!(answer.body.is_empty());
            assert_eq!(setup.origin.seen().len(), before);
        }
        ask(&setup, "GET / HTTP/1.1", "Max-Forwards: 0\r\n").await;
        assert_eq!(setup.origin.last().field("max-forwards"), ["0"]);
        let trace = ask(&setup, "TRACE / HTTP/1.1", "Max-Forwards: 0\r\n").await;
        assert_eq!(refused(&trace), (405, Some("method-not-allowed")));
        let star = ask(&setup, "GET * HTTP/1.1", "").await;
        assert_eq!(refused(&star), (400, Some("bad-target")));
    })
    .await;
}

#[tokio::test]
async fn completes_a_target_without_a_path() {
    in_every_dialect(ok, async |setup| {
        let host = setup.relay.address;
        for (sent, forwarded) in [("", "/"), ("/", "/"), ("?q", "/?q"), ("?", "/?")] {
            ask(&setup, &format!("GET http://{host}{sent} HTTP/1.1"), "").await;
            assert_eq!(setup.origin.last().target(), forwarded, "{sent}");
        }
    })
    .await;
}

#[tokio::test]
async fn meets_no_other_expectation() {
    in_every_dialect(ok, async |setup| {
        let body = "Content-Length: 2\r\n";
        for expected in ["x", "100-continue, x", "100-continue\r\nExpect: x"] {
            let fields = format!("Expect: {expected}\r\n{body}");
            let answer = ask(&setup, "POST / HTTP/1.1", &fields).await;
            assert_eq!(refused(&answer), (417, Some("unknown-expectation")));
        }
        assert!(setup.origin.seen().is_empty());
        // HTTP/1.0 has none, and nobody there knows a 100.
        for expected in ["x", "100-continue"] {
            let fields = format!("Expect: {expected}\r\n{body}");
            let post = request(&setup, "POST / HTTP/1.0", &fields) + "hi";
            let answer = setup.ask(post).await;
            assert_eq!(answer.status(), 200);
            let seen = setup.origin.last();
            assert!(seen.field("expect").is_empty());
            assert_eq!((&*seen.body, seen.line()), (&b"hi"[..], "POST / HTTP/1.1"));
        }
    })
    .await;
}

fn by_path(seen: &Seen) -> Vec<u8> {
    let response: &[u8] = match seen.target() {
        "/205" => b"HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nhi",
        "/205-chunked" => b"HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "/204" => b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        "/599" => b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nhi",
        "/799" => b"HTTP/1.1 799 Odder\r\nContent-Length: 2\r\n\r\nhi",
        "/dated" => b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nServer: app/1\r\nContent-Length: 0\r\n\r\n",
        "/hints" => b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "/twice" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        "/list" => b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
        "/unknown" => b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhi",
        "/99" => b"HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\nhi",
        "/099" => b"HTTP/1.1 099 Low\r\nContent-Length: 2\r\n\r\nhi",
        "/1000" => b"HTTP/1.1 1000 High\r\nContent-Length: 2\r\n\r\nhi",
        "/20" => b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nhi",
        "/101" => b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhi",
        "/both" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "/differ" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        "/coded" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "/signed" => b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
        "/garbage" => b"\0\x01\x02 garbage\r\n\r\n",
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    };
    response.to_vec()
}

#[tokio::test]
async fn passes_statuses_and_fields_that_are_odd() {
    in_every_dialect(by_path, async |setup| {
        for path in ["/205", "/205-chunked"] {
            let reset = setup.get(path).await;
            assert_eq!((reset.status(), reset.body.len()), (205, 0), "{path}");
            assert_eq!(reset.field("content-length"), ["0"]);
        }
        let none = setup.get("/204").await;
        assert_eq!((none.status(), none.body.len()), (204, 0));
        assert!(none.field("content-length").is_empty(), "{}", none.head);
        for (path, line) in [("/599", "HTTP/1.1 599 \r\n"), ("/799", "HTTP/1.1 799 \r\n")] {
            let odd = setup.get(path).await;
            assert!(odd.head.starts_with(line), "{}", odd.head);
            assert_eq!(odd.text(), "hi");
        }
        let dated = setup.get("/dated").await;
        assert_eq!(dated.field("date"), ["Tue, 15 Nov 1994 08:12:31 GMT"]);
        assert_eq!(dated.field("server"), ["app/1"]);
        let hints = setup.get("/hints").await;
        assert_eq!((hints.status(), hints.text()), (200, "hi"));
        assert!(hints.field("link").is_empty());
        assert_eq!(hints.field("date").len(), 1);
        assert!(hints.field("server").is_empty());
        for path in ["/twice", "/list"] {
            let twice = setup.get(path).await;
            assert_eq!(twice.field("content-length"), ["2"], "{path}");
            assert_eq!(twice.text(), "hi");
        }
    })
    .await;
}

#[tokio::test]
async fn passes_no_response_that_is_none() {
    in_every_dialect(by_path, async |setup| {
        for path in [
            "/99", "/099", "/1000", "/20", "/101", "/both", "/differ", "/coded", "/signed",
            "/garbage",
        ] {
            let answer = setup.get(path).await;
            assert_eq!(refused(&answer), (502, Some("local-broken")), "{path}");
            assert_eq!(setup.get("/").await.text(), "hi");
        }
    })
    .await;
}

#[tokio::test]
async fn never_takes_what_is_behind_a_response_for_the_next_one() {
    let forging = |seen: &Seen| {
        let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
        let head = match seen.target() {
            "/sized" => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            "/chunked" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
            }
            "/none" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/same" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
            _ => return ok(seen),
        };
        format!("{head}{forged}").into_bytes()
    };
    in_every_dialect(forging, async |setup| {
        for path in ["/sized", "/chunked", "/none", "/same"].repeat(5) {
            let first = setup.get(path).await;
            assert!(matches!(first.status(), 200 | 204 | 304), "{first:?}");
            assert!(!String::from_utf8_lossy(&first.body).contains("forged"));
            assert_eq!(setup.get("/next").await.text(), "hi", "behind {path}");
        }
    })
    .await;
}

#[tokio::test]
async fn carries_trailers_for_those_who_take_them_alone() {
    let trailing = |_: &Seen| {
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum, Authorization, Content-Type\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nAuthorization: x\r\nContent-Type: x\r\n\r\n".to_vec()
    };
    in_every_dialect(trailing, async |setup| {
        let plain = ask(&setup, "GET / HTTP/1.1", "").await;
        assert_eq!(plain.whole().unwrap(), b"hi");
        assert!(!format!("{plain:?}").contains("x-sum"));
        assert!(plain.field("x-sum").is_empty() && plain.field("authorization").is_empty());
    })
    .await;

    let wires = Wires::start().await;
    let post = "POST / HTTP/1.1\r\nHOST\r\nTE: trailers\r\nTrailer: X-Sum, Host, Authorization, X-Forwarded-For, Content-Digest\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut visitor, mut local, head) = wires.call(post).await;
    assert_eq!(fields(&head, "te"), ["trailers"]);
    assert_eq!(fields(&head, "connection"), ["te"]);
    visitor
        .send("2\r\nhi\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nAuthorization: x\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Digest: d\r\nUndeclared: x\r\n\r\n")
        .await;
    assert_eq!(local.chunks(2).await, b"hi");
    assert_eq!(local.chunk().await, b"");
    let trailers = local.head().await.to_lowercase();
    assert_eq!(trailers, "x-sum: 1\r\ncontent-digest: d\r\n\r\n");
    local
        .send(trailing(&Seen {
            head: String::new(),
            body: Vec::new(),
        }))
        .await;
    visitor.head().await;
    assert_eq!(visitor.chunks(2).await, b"hi");
    assert_eq!(visitor.chunk().await, b"");
    assert_eq!(visitor.head().await.to_lowercase(), "x-sum: 1\r\n\r\n");
}

#[tokio::test]
async fn aborts_a_request_whose_chunks_break() {
    let wires = Wires::start().await;
    let post = "POST / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n";
    for broken in ["x\r\nhi\r\n", "2\r\nhi0\r\n\r\n", "0x2\r\nhi\r\n", "\r\n"] {
        let (mut visitor, mut local, _) = wires.call(post).await;
        visitor.send_chunk(b"half").await;
        assert_eq!(local.chunks(4).await, b"half");
        visitor.send(broken).await;
        let rest = local.rest().await;
        assert!(!rest.windows(3).any(|three| three == b"0\r\n"), "{rest:?}");
        let answer = String::from_utf8(visitor.rest().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert_eq!(fields(&answer, "x-ggrok-error"), ["body-broken"]);
    }
}

#[tokio::test]
async fn aborts_a_request_whose_body_stalls() {
    let relay = Relay::with(|config| config.limits.stream_idle = Duration::from_millis(300)).await;
    let wires = Wires::before(relay).await;
    let post = "POST / HTTP/1.1\r\nHOST\r\nContent-Length: 4\r\n\r\n";
    let (mut visitor, local, _) = wires.call(post).await;
    visitor.send("ha").await;
    assert_eq!(local.rest().await, b"ha");
    let head = visitor.head().await;
    assert!(head.starts_with("HTTP/1.1 408 "), "{head}");
    assert_eq!(fields(&head, "x-ggrok-error"), ["body-stalled"]);
    assert_eq!(fields(&head, "connection"), ["close"]);
}

#[tokio::test]
async fn frames_requests_as_they_were() {
    in_every_dialect(ok, async |setup| {
        for method in ["GET", "HEAD", "POST", "DELETE"] {
            let line = format!("{method} / HTTP/1.1");
            ask(&setup, &line, "").await;
            let seen = setup.origin.last();
            assert!(seen.field("content-length").is_empty(), "{}", seen.head);
            assert!(seen.field("transfer-encoding").is_empty(), "{}", seen.head);
            ask(&setup, &line, "Content-Length: 0\r\n").await;
            assert_eq!(setup.origin.last().field("content-length"), ["0"]);
            let sized = request(&setup, &line, "Content-Length: 2\r\n") + "hi";
            setup.ask(sized).await;
            assert_eq!(setup.origin.last().field("content-length"), ["2"]);
            assert_eq!(setup.origin.last().body, b"hi");
            let chunked = request(&setup, &line, "Transfer-Encoding: chunked\r\n");
            setup.ask(chunked + "2\r\nhi\r\n0\r\n\r\n").await;
            assert_eq!(setup.origin.last().body, b"hi", "{line}");
        }
    })
    .await;
    let wires = Wires::start().await;
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        let said = format!("{method} / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n");
        let (mut visitor, mut local, head) = wires.call(said).await;
        assert_eq!(fields(&head, "transfer-encoding"), ["chunked"], "{method}");
        visitor.send("2\r\nhi\r\n0\r\n\r\n").await;
        assert_eq!(local.chunks(2).await, b"hi");
    }
}

#[tokio::test]
async fn speaks_to_old_visitors_as_they_can_hear() {
    in_every_dialect(by_path, async |setup| {
        // No keep-alive: each answer ends with the connection, and has no chunks.
        for path in ["/", "/unknown", "/hints"] {
            let answer = ask(&setup, &format!("GET {path} HTTP/1.0"), "").await;
            assert!(answer.head.starts_with("HTTP/1.0 200 "), "{}", answer.head);
            assert!(answer.field("transfer-encoding").is_empty());
            assert_eq!(answer.text(), "hi");
            let seen = setup.origin.last();
            assert_eq!(seen.line(), format!("GET {path} HTTP/1.1"));
        }
        let host = setup.relay.address;
        let chunked = request(&setup, "POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n");
        assert_eq!(setup.ask(chunked + "0\r\n\r\n").await.status(), 400);
        let homeless = raw(host, "GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(refused(&homeless), (400, Some("bad-host")));
    })
    .await;
}

#[tokio::test]
async fn keeps_the_connection_of_an_old_visitor_while_lengths_are_known() {
    let setup = Setup::start(Origin::start(by_path).await).await;
    let host = setup.relay.address;
    let known = format!("GET / HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\n\r\n");
    let unknown = known.replace("GET /", "GET /unknown");
    let answers = exchange(host, (known + &unknown).as_bytes()).await;
    let answers = String::from_utf8(answers).unwrap();
    let (first, second) = answers.split_at(answers.rfind("HTTP/1.0 200 OK").unwrap());
    assert_eq!(fields(first, "connection"), ["keep-alive"]);
    assert_eq!(fields(first, "content-length"), ["2"]);
    assert!(fields(second, "content-length").is_empty(), "{second}");
    assert!(fields(second, "transfer-encoding").is_empty(), "{second}");
    assert!(second.ends_with("\r\n\r\nhi"));
}

#[tokio::test]
async fn notices_a_visitor_who_leaves_while_its_upload_is_held_back() {
    let wires = Wires::start().await;
    let post = "POST / HTTP/1.1\r\nHOST\r\nContent-Length: 100000000\r\n\r\n";
    let (mut visitor, local, _) = wires.call(post).await;
    // More than goes through windows and buffers, and no more than the system holds for the relay.
    let filling = visitor.send(noise(16 << 20));
    timeout(Duration::from_millis(500), filling).await.ok();
    drop(visitor);
    local.rest().await;
}
