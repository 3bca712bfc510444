//! A local server that speaks HTTP/2 is reached over few connections, which fail as others do.

use std::time::Duration;

use bytes::Bytes;
use ggrok_client::Dialect;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Response, Version};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{
    Answer, Client, LocalCall, LocalHttp2, Origin, PATIENCE, Relay, Wire, Wires, fields, get,
    noise, piece, raw, whole,
};

/// A relay and a client before a local server that speaks HTTP/2 alone.
struct Setup {
    local: LocalHttp2,
    relay: Relay,
    _client: Client,
}

impl Setup {
    async fn start() -> Self {
        Self::with(None).await
    }

    async fn with(dialect: Option<Dialect>) -> Self {
        Self::before(LocalHttp2::start().await, dialect).await
    }

    async fn before(local: LocalHttp2, dialect: Option<Dialect>) -> Self {
        let relay = Relay::start().await;
        let mut config = config(&relay, &local.address.to_string());
        config.dialect = dialect;
        Self {
            _client: Client::ready(config).await,
            local,
            relay,
        }
    }

    /// A visitor's request, and where it arrived. `HOST` stands for the relay's host.
    async fn call(&mut self, said: &str) -> (Wire, LocalCall) {
        let mut visitor = Wire::connect(self.relay.address).await;
        let host = format!("Host: {}", self.relay.address);
        visitor.send(said.replace("HOST", &host)).await;
        (visitor, self.local.call().await)
    }
}

fn config(relay: &Relay, local: &str) -> ggrok_client::Config {
    let relay = relay.address.to_string().parse().unwrap();
    let mut config = ggrok_client::Config::new(relay, local.parse().unwrap());
    config.local_http2 = true;
    config
}

/// What visitors of a local server get that does not answer in HTTP/2.
async fn refused(local: &str) -> Answer {
    let relay = Relay::start().await;
    let _client = Client::ready(config(&relay, local)).await;
    get(relay.address, "/").await
}

const GET: &str = "GET / HTTP/1.1\r\nHOST\r\n\r\n";

#[tokio::test]
async fn passes_requests_and_responses_as_http2_has_them() {
    for dialect in [Dialect::V2, Dialect::Ggrok] {
        let mut setup = Setup::with(Some(dialect)).await;
        let (mut visitor, mut local) = setup
            .call("POST /a//b/../%2e?q=%zz HTTP/1.1\r\nHOST\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nCookie: a=1; b=2\r\nX-Field: one\r\nX-Field: two\r\nContent-Length: 4\r\n\r\nbody")
            .await;
        let (head, body) = local.request.into_parts();
        let authority = setup.relay.address.to_string();
        assert_eq!(head.version, Version::HTTP_2);
        assert_eq!(head.uri.authority().unwrap().as_str(), authority);
        assert_eq!(head.uri.path_and_query().unwrap(), "/a//b/../%2e?q=%zz");
        for gone in [
            "host",
            "connection",
            "x-hop",
            "keep-alive",
            "transfer-encoding",
        ] {
            assert!(!head.headers.contains_key(gone), "{gone}");
        }
        let values: Vec<_> = head.headers.get_all("x-field").iter().collect();
        assert_eq!(values, ["one", "two"]);
        assert_eq!(head.headers["content-length"], "4");
        assert_eq!(head.headers["cookie"], "a=1; b=2");
        assert_eq!(head.headers["x-forwarded-host"], authority);
        assert_eq!(whole(body).await.unwrap().0, b"body");

        let response = Response::builder()
            .status(299)
            .header("x-ggrok-error", "forged")
            .header("content-length", 6);
        let response = response.body(()).unwrap();
        let mut body = local.respond.send_response(response, false).unwrap();
        body.send_data("answer".into(), true).unwrap();
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 299 "), "{head}");
        assert_eq!(fields(&head, "content-length"), ["6"]);
        assert_eq!(fields(&head, "x-ggrok-error"), [""; 0]);
        assert_eq!(visitor.exactly(6).await, b"answer");
    }
}

#[tokio::test]
async fn carries_bodies_both_ways_as_they_come_and_trailers() {
    let mut setup = Setup::start().await;
    let post = "POST / HTTP/1.1\r\nHOST\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut visitor, mut local) = setup.call(post).await;
    assert_eq!(local.request.headers()["te"], "trailers");
    let head = Response::builder().header("trailer", "x-sum").body(());
    let mut answer = local.respond.send_response(head.unwrap(), false).unwrap();
    visitor.head().await;
    let mut body = local.request.into_body();
    for number in 0..50_u8 {
        visitor.send_chunk(&[number]).await;
        assert_eq!(&piece(&mut body).await.unwrap()[..], [number]);
        answer.send_data(vec![number].into(), false).unwrap();
        assert_eq!(visitor.chunks(1).await, [number]);
    }
    visitor.send("0\r\nX-Sum: 12\r\n\r\n").await;
    let (rest, trailers) = whole(body).await.unwrap();
    assert_eq!(rest, b"");
    assert_eq!(trailers.unwrap()["x-sum"], "12");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("34"));
    answer.send_trailers(trailers).unwrap();
    assert_eq!(visitor.chunk().await, b"");
    assert_eq!(
        fields(&format!("\n{}", visitor.head().await), "x-sum"),
        ["34"]
    );
}

#[tokio::test]
async fn carries_large_bodies() {
    const LARGE: usize = 20 << 20;
    let mut setup = Setup::start().await;
    let sent = noise(LARGE);
    let put = format!("PUT / HTTP/1.1\r\nHOST\r\nContent-Length: {LARGE}\r\n\r\n");
    let (mut visitor, mut local) = setup.call(&put).await;
    let receiving = async { whole(local.request.into_body()).await.unwrap().0 };
    let (received, ()) = tokio::join!(receiving, visitor.send(&sent));
    assert!(received == sent);
    let mut answer = local
        .respond
        .send_response(Response::new(()), false)
        .unwrap();
    answer.send_data(Bytes::from(sent.clone()), true).unwrap();
    visitor.head().await;
    assert!(visitor.chunks(LARGE).await == sent);
}

#[tokio::test]
async fn asks_about_the_whole_server() {
    let mut setup = Setup::start().await;
    let (_visitor, local) = setup.call("OPTIONS * HTTP/1.1\r\nHOST\r\n\r\n").await;
    assert_eq!(local.request.uri().path(), "*");
}

#[tokio::test]
async fn needs_few_connections() {
    let mut setup = Setup::start().await;
    for _ in 0..3 {
        let (mut visitor, local) = setup.call(GET).await;
        local.say("one");
        visitor.head().await;
    }
    assert_eq!(setup.local.connections(), 1);
    let (mut visitors, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..250 {
        let (visitor, local) = setup.call(GET).await;
        visitors.push(visitor);
        calls.push(local);
    }
    assert_eq!(setup.local.connections(), 3);
    for local in calls {
        local.say("many");
    }
    for visitor in &mut visitors {
        visitor.head().await;
        assert_eq!(visitor.chunks(4).await, b"many");
    }
    let (mut visitor, local) = setup.call(GET).await;
    local.say("one");
    visitor.head().await;
    assert_eq!(setup.local.connections(), 3);
}

#[tokio::test]
async fn opens_one_connection_for_calls_that_come_together() {
    let mut setup = Setup::start().await;
    let address = setup.relay.address;
    let mut visitors = JoinSet::new();
    for _ in 0..50 {
        visitors.spawn(async move { get(address, "/").await });
    }
    for _ in 0..50 {
        setup.local.call().await.say("hi");
    }
    for answer in visitors.join_all().await {
        assert_eq!(answer.whole().unwrap(), b"hi");
    }
    assert_eq!(setup.local.connections(), 1);
}

#[tokio::test]
async fn keeps_to_the_calls_that_the_local_server_allows() {
    let mut setup = Setup::before(LocalHttp2::allowing(3).await, None).await;
    let mut visitors = JoinSet::new();
    for _ in 0..20 {
        let address = setup.relay.address;
        visitors.spawn(async move { get(address, "/").await });
    }
    for _ in 0..20 {
        setup.local.call().await.say("hi");
    }
    for answer in visitors.join_all().await {
        assert_eq!(answer.whole().unwrap(), b"hi");
    }
}

#[tokio::test]
async fn sends_again_what_the_local_server_did_not_touch() {
    let mut setup = Setup::start().await;
    let (mut visitor, local) = setup.call(GET).await;
    local.say("hi");
    visitor.head().await;
    // A POST may do harm twice, but this one was refused unseen.
    let post = "POST / HTTP/1.1\r\nHOST\r\nContent-Length: 0\r\n\r\n";
    let (mut visitor, mut local) = setup.call(post).await;
    local.respond.send_reset(Reason::REFUSED_STREAM);
    setup.local.call().await.say("again");
    visitor.head().await;
    assert_eq!(visitor.chunks(5).await, b"again");

    let (mut visitor, mut local) = setup.call(post).await;
    local.respond.send_reset(Reason::INTERNAL_ERROR);
    let head = visitor.head().await;
    assert_eq!(fields(&head, "x-ggrok-error"), ["local-broken"]);
}

#[tokio::test]
async fn goes_to_a_new_connection_when_the_old_one_goes_away() {
    let mut setup = Setup::start().await;
    let (mut slow, mut at_work) = setup.call(GET).await;
    at_work.go_away.notify_one();
    // Whether it has heard is for the client to know.
    let (mut visitor, local) = loop {
        let (visitor, local) = setup.call(GET).await;
        if local.connection == 2 {
            break (visitor, local);
        }
        local.say("still");
    };
    local.say("new");
    visitor.head().await;
    assert_eq!(visitor.chunks(3).await, b"new");
    // The old one's call ends in order.
    let mut body = at_work.begin();
    body.send_data("late".into(), true).unwrap();
    slow.head().await;
    assert_eq!(slow.chunks(4).await, b"late");
}

#[tokio::test]
async fn finds_the_local_server_again_after_a_restart() {
    let mut setup = Setup::start().await;
    let (mut visitor, local) = setup.call(GET).await;
    local.say("old");
    visitor.head().await;
    let address = setup.local.address;
    setup.local = LocalHttp2::start().await;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    };
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut body = respond.send_response(Response::new(()), false).unwrap();
        body.send_data(Bytes::from_static(b"new"), true).unwrap();
        connection.accept().await.map(drop)
    };
    let visiting = get(setup.relay.address, "/");
    tokio::select! {
        _ = accepting => panic!("the connection was closed"),
        answer = visiting => assert_eq!(answer.whole().unwrap(), b"new"),
    }
}

#[tokio::test]
async fn says_that_the_local_server_is_not_there_or_speaks_no_http2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let answer = refused(&address).await;
    assert_eq!(
        (answer.status(), answer.error()),
        (502, Some("local-unreachable"))
    );

    let refusal = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\nContent-Length: 0\r\n\r\n";
    let old = Origin::start(|_| refusal.to_vec()).await;
    let answer = refused(&old.address.to_string()).await;
    assert_eq!(
        (answer.status(), answer.error()),
        (502, Some("local-broken"))
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hanging_up = async {
        loop {
            drop(listener.accept().await.unwrap());
        }
    };
    let answer = tokio::select! {
        answer = refused(&address) => answer,
        never = hanging_up => never,
    };
    assert_eq!(
        (answer.status(), answer.error()),
        (502, Some("local-broken"))
    );
}

#[tokio::test]
async fn breaks_visibly_where_the_local_server_breaks_off() {
    let mut setup = Setup::start().await;
    let (mut visitor, mut local) = setup.call(GET).await;
    let mut body = local.begin();
    body.send_data("half".into(), false).unwrap();
    visitor.head().await;
    assert_eq!(visitor.chunks(4).await, b"half");
    body.send_reset(Reason::INTERNAL_ERROR);
    assert_eq!(visitor.rest().await, b"");

    let (mut visitor, mut local) = setup.call(GET).await;
    local.respond.send_reset(Reason::INTERNAL_ERROR);
    let head = visitor.head().await;
    assert_eq!(fields(&head, "x-ggrok-error"), ["local-broken"]);
    // That says nothing of the connection.
    let (mut visitor, local) = setup.call(GET).await;
    assert_eq!(local.connection, 1);
    local.say("whole");
    visitor.head().await;
}

#[tokio::test]
async fn resets_the_stream_when_the_visitor_leaves() {
    let mut setup = Setup::start().await;
    let (visitor, mut local) = setup.call(GET).await;
    drop(visitor);
    assert_eq!(local.reset().await, Reason::CANCEL);

    // In the middle of both bodies.
    let post = "POST / HTTP/1.1\r\nHOST\r\nContent-Length: 100\r\n\r\nhalf";
    let (mut visitor, mut local) = setup.call(post).await;
    let mut answer = local.begin();
    answer.send_data("half".into(), false).unwrap();
    visitor.head().await;
    drop(visitor);
    let mut body = local.request.into_body();
    let broken = timeout(PATIENCE, async {
        while let Some(piece) = body.data().await {
            piece?;
        }
        Ok::<_, h2::Error>(())
    });
    broken.await.unwrap().unwrap_err();
    let reset = std::future::poll_fn(|cx| answer.poll_reset(cx));
    timeout(PATIENCE, reset).await.unwrap().unwrap();

    let (mut visitor, local) = setup.call(GET).await;
    assert_eq!(local.connection, 1);
    local.say("whole");
    visitor.head().await;
}

#[tokio::test]
async fn a_call_that_stalls_holds_up_no_other() {
    let mut setup = Setup::start().await;
    // Visitors who read nothing of large responses, and uploads that the local server does not read.
    let (mut stalled, large) = (Vec::new(), Bytes::from(noise(8 << 20)));
    for _ in 0..20 {
        let (visitor, mut local) = setup.call(GET).await;
        let mut body = local.begin();
        body.send_data(large.clone(), true).unwrap();
        let put = "PUT / HTTP/1.1\r\nHOST\r\nContent-Length: 8388608\r\n\r\n";
        let (mut uploader, upload) = setup.call(put).await;
        let sending = uploader.try_send(&large);
        timeout(Duration::from_millis(50), sending).await.ok();
        stalled.push((visitor, body, uploader, upload));
    }
    let (mut visitor, local) = setup.call(GET).await;
    assert_eq!(local.connection, 1);
    local.say("swift");
    visitor.head().await;
    assert_eq!(visitor.chunks(5).await, b"swift");
}

#[tokio::test]
async fn trusts_no_connection_on_which_a_call_was_given_up_unanswered() {
    let mut setup = Setup::start().await;
    let (impatient, first) = setup.call(GET).await;
    drop(impatient);
    let (patient, second) = setup.call(GET).await;
    // Nothing at all came meanwhile.
    sleep(Duration::from_millis(1200)).await;
    drop(patient);
    let third = loop {
        let (mut visitor, third) = setup.call(GET).await;
        if third.connection > 1 {
            break third;
        }
        third.say("still");
        visitor.head().await;
    };
    let told = (first.connection, second.connection, third.connection);
    assert_eq!(told, (1, 1, 2));
}

#[tokio::test]
async fn asks_for_an_upgrade_in_http1() {
    let relay = Relay::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap().to_string();
    let client = Client::ready(config(&relay, &local)).await;
    let wires = Wires {
        listener,
        relay,
        client,
    };
    let asked = "GET / HTTP/1.1\r\nHOST\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n\r\n";
    let (mut visitor, mut local, head) = wires.call(asked).await;
    assert_eq!(fields(&head, "upgrade"), ["weird/7"]);
    local
        .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n\r\nhello")
        .await;
    visitor.head().await;
    assert_eq!(visitor.exactly(5).await, b"hello");
}

#[tokio::test]
async fn gives_a_request_without_a_host_the_local_servers_own() {
    let mut local = LocalHttp2::start().await;
    let relay = Relay::start().await;
    let mut config = config(&relay, &local.address.to_string());
    let mirror = ggrok_client::Mirror::new("app".parse().unwrap());
    config.claim = ggrok_client::Claim::Mirror(mirror);
    let _client = Client::ready(config).await;
    let request = format!(
        "GET /_ggrok/mirrors/app/x HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        relay.address
    );
    let address = relay.address;
    let visit = tokio::spawn(async move { raw(address, request).await });
    let call = local.call().await;
    let own = local.address.to_string();
    assert_eq!(call.request.uri().to_string(), format!("http://{own}/x"));
    call.say("hi");
    assert_eq!(visit.await.unwrap().whole().unwrap(), b"hi");
}
