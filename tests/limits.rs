//! What is too much or too slow is turned away or ended, and the good are served meanwhile.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use ggrok_protocol::Dialect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{
    Answer, Client, Origin, PATIENCE, Relay, Seen, Wire, config, eventually, get, raw,
};

fn app(_: &Seen) -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()
}

fn never(_: &Seen) -> Vec<u8> {
    Vec::new()
}

/// Grants every upgrade that it is asked for.
fn granting(seen: &Seen) -> Vec<u8> {
    if seen.field("upgrade").is_empty() {
        return app(seen);
    }
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n\r\n".to_vec()
}

/// A visitor whose connection has become another protocol's.
async fn upgraded(relay: SocketAddr, fields: &str) -> Wire {
    let mut visitor = Wire::connect(relay).await;
    let asking = format!(
        "GET / HTTP/1.1\r\nHost: {relay}\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n{fields}\r\n"
    );
    visitor.send(asking).await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 101 "));
    visitor
}

/// One that connects from an address of loopback, and says this.
async fn from(address: &str, relay: SocketAddr, said: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let address: IpAddr = address.parse().unwrap();
    socket.bind((address, 0).into()).unwrap();
    let mut stream = socket.connect(relay).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    stream
}

/// What the relay says until it closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let reading = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    // Behind an answer a reset is as good as an end.
    reading.expect("the relay does not close").ok();
    String::from_utf8(said).unwrap()
}

fn asking(relay: SocketAddr, fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {relay}\r\nConnection: close\r\n{fields}\r\n")
}

/// Says a start, and then a byte now and then, until the relay closes.
async fn trickle(relay: SocketAddr, start: String) -> String {
    let mut stream = TcpStream::connect(relay).await.unwrap();
    stream.write_all(start.as_bytes()).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let mut said = Vec::new();
    let trickling = async {
        while to.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let reading = async {
        from.read_to_end(&mut said).await.ok();
    };
    let ended = timeout(PATIENCE, async {
        tokio::select! {
            () = trickling => {}
            () = reading => {}
        }
    });
    ended.await.expect("a slow visitor is never ended");
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn ends_visitors_who_say_little_or_nothing_and_serves_the_others() {
    for dialect in [Dialect::V2, Dialect::Ggrok] {
        let relay = Relay::with(|config| {
            config.idle_timeout = Duration::from_secs(2);
            config.body_pace = Duration::from_secs(2);
        })
        .await;
        let origin = Origin::start(app).await;
        let mut settings = config(&relay, &origin);
        settings.dialect = Some(dialect);
        let _client = Client::ready(settings).await;

        let at = relay.address;
        let mut slow = JoinSet::new();
        for _ in 0..20 {
            slow.spawn(async move {
                let mut silent = TcpStream::connect(at).await.unwrap();
                rest(&mut silent).await;
            });
            let head = format!("GET / HTTP/1.1\r\nHost: {at}\r\nX: ");
            slow.spawn(async move {
                trickle(at, head).await;
            });
            let body = format!("POST / HTTP/1.1\r\nHost: {at}\r\nContent-Length: 100000\r\n\r\n");
            slow.spawn(async move {
                let said = trickle(at, body).await;
                assert!(said.contains("x-ggrok-error: body-stalled"), "{said}");
            });
        }
        let mut served = 0;
        while !slow.is_empty() {
            let answer = get(at, "/").await;
            assert_eq!((answer.status(), answer.text()), (200, "hi"));
            served += 1;
            while let Some(ended) = slow.try_join_next() {
                ended.unwrap();
            }
            sleep(Duration::from_millis(20)).await;
        }
        println!("{served} visitors were served meanwhile in {dialect}");
    }
}

#[tokio::test]
async fn bears_uploads_that_pause_where_they_told_no_length() {
    let relay = Relay::with(|config| config.body_pace = Duration::from_millis(100)).await;
    let origin = Origin::start(app).await;
    let _client = Client::start(&relay, &origin).await;
    let mut visitor = Wire::connect(relay.address).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        relay.address
    );
    visitor.send(head).await;
    for _ in 0..5 {
        visitor.send_chunk(b"x").await;
        // Longer than the pace allows, were there a length.
        sleep(Duration::from_millis(150)).await;
    }
    visitor.send("0\r\n\r\n").await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn tells_connections_for_which_there_is_no_place_and_recovers() {
    let relay = Relay::with(|config| config.connections = 3).await;
    let at = relay.address;
    let origin = Origin::start(never).await;
    let _client = Client::start(&relay, &origin).await;
    // The client's connection has left its place when its handshake was answered.
    let asking = asking(at, "");
    let held = join_all((0..3).map(|_| from("127.0.0.1", at, &asking))).await;
    eventually("all are at the local server", async || {
        (origin.seen().len() == 3).then_some(())
    })
    .await;
    for _ in 0..3 {
        let answer = get(at, "/_ggrok/health").await;
        let seen = (answer.status(), answer.error());
        assert_eq!(seen, (503, Some("overloaded")));
        assert_eq!(answer.field("retry-after"), ["1"]);
        assert!(answer.whole().is_some(), "{answer:?}");
    }
    drop(held);
    eventually("there are places again", async || {
        (get(at, "/_ggrok/health").await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place() {
    let relay = Relay::with(|config| config.connections = 3).await;
    let at = relay.address;
    let origin = Origin::start(granting).await;
    let _client = Client::start(&relay, &origin).await;
    let held = [upgraded(at, "").await, upgraded(at, "").await];
    assert_eq!(get(at, "/").await.status(), 200);
    let third = upgraded(at, "").await;
    let answer = get(at, "/").await;
    assert_eq!((answer.status(), answer.error()), (503, Some("overloaded")));
    drop((held, third));
    eventually("there are places again", async || {
        (get(at, "/").await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_upgraded_connection_is_one_of_its_visitors_calls() {
    let relay = Relay::with(|config| {
        config.per_address = 2;
        config.trusted_hops = 1;
    })
    .await;
    let at = relay.address;
    let origin = Origin::start(granting).await;
    let _client = Client::start(&relay, &origin).await;
    let seen = |address: &str| format!("X-Forwarded-For: {address}\r\n");
    let greedy = seen("192.0.2.7");
    let held = [upgraded(at, &greedy).await, upgraded(at, &greedy).await];
    let refused: Answer = raw(at, &asking(at, &greedy)).await;
    let code = (refused.status(), refused.error());
    assert_eq!(code, (429, Some("too-many-from-address")));
    let other: Answer = raw(at, &asking(at, &seen("192.0.2.8"))).await;
    assert_eq!(other.status(), 200);
    drop(held);
    eventually("it may call again", async || {
        let again: Answer = raw(at, &asking(at, &greedy)).await;
        (again.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn turns_calls_away_where_too_many_are_under_way_and_recovers() {
    let relay = Relay::with(|config| config.calls = 2).await;
    let at = relay.address;
    let origin = Origin::start(never).await;
    let _client = Client::start(&relay, &origin).await;
    let held = [from("127.0.0.1", at, &asking(at, "")).await, {
        from("127.0.0.1", at, &asking(at, "")).await
    }];
    eventually("both are at the local server", async || {
        (origin.seen().len() == 2).then_some(())
    })
    .await;
    // With a body, which is not waited for.
    let post = format!("POST / HTTP/1.1\r\nHost: {at}\r\nContent-Length: 100000\r\n\r\nstart");
    for request in [asking(at, ""), post] {
        let answer = raw(at, request).await;
        let seen = (answer.status(), answer.error());
        assert_eq!(seen, (503, Some("overloaded")));
        assert_eq!(answer.field("retry-after"), ["1"]);
    }
    assert_eq!(get(at, "/_ggrok/health").await.status(), 200);
    drop(held);
    eventually("there is room again", async || {
        let mut visitor = from("127.0.0.1", at, &asking(at, "")).await;
        let wait = Duration::from_millis(500);
        // The local server never answers: silence is a call that is under way.
        timeout(wait, rest(&mut visitor))
            .await
            .is_err()
            .then_some(())
    })
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn bounds_the_connections_of_one_address_and_of_no_other() {
    let relay = Relay::with(|config| config.per_address = 2).await;
    let at = relay.address;
    let origin = Origin::start(granting).await;
    let _client = Client::start(&relay, &origin).await;
    let upgrade =
        format!("GET / HTTP/1.1\r\nHost: {at}\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut visitor = Wire::new(from("127.0.0.2", at, &upgrade).await);
        assert!(visitor.head().await.starts_with("HTTP/1.1 101 "));
        held.push(visitor);
    }
    let refused = rest(&mut from("127.0.0.2", at, &asking(at, "")).await).await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains("too-many-from-address") && refused.contains("retry-after: 1"));
    let other = rest(&mut from("127.0.0.3", at, &asking(at, "")).await).await;
    assert!(other.starts_with("HTTP/1.1 200 "), "{other}");
    drop(held);
    eventually("they have left", async || {
        let again = rest(&mut from("127.0.0.2", at, &asking(at, "")).await).await;
        again.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
}

#[tokio::test]
async fn bounds_the_calls_of_one_visitor_behind_a_router() {
    let relay = Relay::with(|config| {
        config.per_address = 2;
        config.trusted_hops = 1;
    })
    .await;
    let at = relay.address;
    let origin = Origin::start(never).await;
    let _client = Client::start(&relay, &origin).await;
    let seen = |address: &str| format!("X-Forwarded-For: 198.51.100.1, {address}\r\n");
    let greedy = asking(at, &seen("192.0.2.7"));
    let _held = join_all((0..2).map(|_| from("127.0.0.1", at, &greedy))).await;
    eventually("both are at the local server", async || {
        (origin.seen().len() == 2).then_some(())
    })
    .await;
    let refused: Answer = raw(at, &greedy).await;
    let code = (refused.status(), refused.error());
    assert_eq!(code, (429, Some("too-many-from-address")));
    let _other = from("127.0.0.1", at, &asking(at, &seen("192.0.2.8"))).await;
    eventually("another visitor's is there too", async || {
        (origin.seen().len() == 3).then_some(())
    })
    .await;
}
