//! Connections that become another protocol's, WebSockets above all, are passed on untouched.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use ggrok_protocol::{Dialect, IncomingCall, TunnelBody};
use http::StatusCode;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use crate::support::{
    Http2, Mirror, PATIENCE, Relay, Wire, Wires, dial, error, fields, handshake, in_v2, noise,
    owners, play,
};

const HANDSHAKE: &str = "GET /socket HTTP/1.1\r\nHOST\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const WEIRD: &str = "GET / HTTP/1.1\r\nHOST\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n\r\n";
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n\r\n";

type Socket = WebSocketStream<TcpStream>;

/// A WebSocket through the tunnel: its end at the visitor, and that at the local server.
async fn sockets(wires: &Wires) -> (Socket, Socket) {
    let address = wires.relay.address;
    let uri = format!("ws://{address}/socket").parse().unwrap();
    let request = ClientRequestBuilder::new(uri)
        .with_sub_protocol("worst")
        .with_sub_protocol("better");
    let asking = async {
        let stream = TcpStream::connect(address).await.unwrap();
        client_async(request, stream).await.unwrap()
    };
    let accepting = async {
        let local = wires.local().await.into_stream();
        accept_hdr_async(local, choose).await.unwrap()
    };
    let both = async { tokio::join!(asking, accepting) };
    let both = timeout(PATIENCE, both).await.expect("no WebSocket in time");
    let ((visitor, response), local) = both;
    assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "better");
    (visitor, local)
}

#[expect(
    clippy::unnecessary_wraps,
    clippy::result_large_err,
    reason = "tungstenite's signature"
)]
fn choose(
    request: &Request,
    mut response: Response,
) -> Result<Response, http::Response<Option<String>>> {
    let offered: Vec<_> = request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .collect();
    assert_eq!(offered, ["worst, better"]);
    let headers = response.headers_mut();
    headers.insert(SEC_WEBSOCKET_PROTOCOL, "better".parse().unwrap());
    Ok(response)
}

async fn next(socket: &mut Socket) -> Message {
    let next = timeout(PATIENCE, socket.next()).await;
    next.expect("no message in time").unwrap().unwrap()
}

#[tokio::test]
async fn passes_messages_and_pings_both_ways() {
    let wires = Wires::start().await;
    let (mut visitor, mut local) = sockets(&wires).await;
    for (from, to) in [(&mut visitor, &mut local)] {
        for _ in 0..2 {
            for message in [
                Message::text("grüße"),
                Message::binary(noise(3_000_000)),
                Message::binary(""),
            ] {
                let (sent, got) = tokio::join!(from.send(message.clone()), next(to));
                sent.unwrap();
                assert!(got == message);
            }
            from.send(Message::Ping("are you there".into()))
                .await
                .unwrap();
            assert_eq!(next(to).await, Message::Ping("are you there".into()));
            to.flush().await.unwrap();
            assert_eq!(next(from).await, Message::Pong("are you there".into()));
            std::mem::swap(from, to);
        }
    }
}

#[tokio::test]
async fn passes_the_code_and_reason_of_a_close() {
    let wires = Wires::start().await;
    for by_visitor in [true, false] {
        let (visitor, local) = sockets(&wires).await;
        let (mut from, to) = if by_visitor {
            (visitor, local)
        } else {
            (local, visitor)
        };
        let frame = CloseFrame {
            code: CloseCode::Library(4321),
            reason: "that is all".into(),
        };
        from.close(Some(frame.clone())).await.unwrap();
        // It arrives, its answer comes back, and both connections end.
        let ends = async { tokio::join!(until_the_end(from), until_the_end(to)) };
        let ends = timeout(PATIENCE, ends).await.expect("it does not end");
        let close = [Message::Close(Some(frame))];
        assert_eq!((&ends.0[..], &ends.1[..]), (&close[..], &close[..]));
    }
}

async fn until_the_end(mut socket: Socket) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(message) = socket.next().await {
        messages.push(message.unwrap());
    }
    messages
}

#[tokio::test]
async fn loses_nothing_that_comes_right_behind_the_handshake() {
    let wires = Wires::start().await;
    // Neither side waits for the other's half of the handshake to arrive.
    let (mut visitor, mut local, head) = wires.call(format!("{WEIRD}early bird")).await;
    assert_eq!(fields(&head, "upgrade"), ["weird/7"]);
    assert_eq!(fields(&head, "connection"), ["upgrade"]);
    local.send(format!("{SWITCHING}early worm")).await;
    let head = visitor.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(fields(&head, "upgrade"), ["weird/7"]);
    assert_eq!(visitor.exactly(10).await, b"early worm");
    assert_eq!(local.exactly(10).await, b"early bird");
}

#[tokio::test]
async fn pipes_any_protocol() {
    let wires = Wires::start().await;
    let (mut visitor, mut local, _) = wires.call(WEIRD).await;
    local.send(SWITCHING).await;
    visitor.head().await;
    for _ in 0..50 {
        visitor.send(b"\x00\xff\r\n\r\n").await;
        let heard = local.exactly(6).await;
        local.send(&heard).await;
        assert_eq!(visitor.exactly(6).await, heard);
    }
    let large = noise(8 << 20);
    let (_, got) = tokio::join!(visitor.send(&large), local.exactly(large.len()));
    assert!(got == large);
    let (_, got) = tokio::join!(local.send(&large), visitor.exactly(large.len()));
    assert!(got == large);
}

#[tokio::test]
async fn grants_many_at_once() {
    let wires = Wires::start().await;
    let mut visitors = Vec::new();
    for number in 0..100 {
        // Calls of other kinds between them start at another pace.
        let said = match number % 3 {
            0 => "GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n",
            1 => "POST / HTTP/1.1\r\nHOST\r\nConnection: close\r\nContent-Length: 1\r\n\r\n",
            _ => WEIRD,
        };
        visitors.push(wires.visitor(said).await);
    }
    let mut switched = Vec::new();
    for _ in 0..visitors.len() {
        let mut local = wires.local().await;
        if local.head().await.contains("weird/7") {
            local.send(SWITCHING).await;
            switched.push(local);
        } else {
            local
                .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
    }
    assert_eq!(switched.len(), 33);
    for (number, visitor) in visitors.iter_mut().enumerate() {
        let status = if number % 3 == 2 { " 101 " } else { " 200 " };
        assert_eq!(visitor.head().await[8..13], *status);
    }
}

#[tokio::test]
async fn stays_with_http_where_the_local_server_refuses() {
    let wires = Wires::start().await;
    let mut visitor = wires.visitor("").await;
    let host = format!("Host: {}", wires.relay.address);
    for refusal in [
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: other/1\r\nContent-Length: 2\r\n\r\nno",
    ] {
        visitor.send(HANDSHAKE.replace("HOST", &host)).await;
        let mut local = wires.local().await;
        let asked = local.head().await;
        assert_eq!(fields(&asked, "upgrade"), ["websocket"]);
        assert_eq!(fields(&asked, "sec-websocket-version"), ["13"]);
        local.send(refusal).await;
        let head = visitor.head().await;
        assert_eq!(head[..12], refusal[..12]);
        if fields(&head, "content-length").is_empty() {
            assert_eq!(visitor.chunks(2).await, b"no");
            assert_eq!(visitor.until(b"\r\n\r\n").await, b"0\r\n\r\n");
        } else {
            assert_eq!(visitor.exactly(2).await, b"no");
        }
    }
    // The same connection goes on.
    visitor
        .send(format!("GET /plain HTTP/1.1\r\n{host}\r\n\r\n"))
        .await;
    // It may come on a connection that was used before.
    let mut local = wires.local().await;
    assert!(local.head().await.starts_with("GET /plain "));
    local.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 204 "));
}

/// The two ends of a connection that has switched protocols.
async fn switched(wires: &Wires) -> (Wire, Wire) {
    let (mut visitor, mut local, _) = wires.call(WEIRD).await;
    local.send(SWITCHING).await;
    visitor.head().await;
    (visitor, local)
}

/// As `docker run -i` needs it: what it has to say may be over long before the answer.
#[tokio::test]
async fn brings_what_the_local_server_says_to_a_visitor_who_has_said_all() {
    let wires = Wires::start().await;
    let (visitor, local) = switched(&wires).await;
    let (mut visitor, mut local) = (visitor.into_stream(), local.into_stream());
    visitor.write_all(b"question").await.unwrap();
    visitor.shutdown().await.unwrap();
    assert_eq!(rest(&mut local).await, b"question");
    let said = noise(3 << 20);
    let saying = async {
        local.write_all(&said).await.unwrap();
        drop(local);
    };
    let (heard, ()) = tokio::join!(rest(&mut visitor), saying);
    assert!(heard == said, "{} bytes", heard.len());
}

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let reading = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    reading.expect("it does not end").unwrap();
    rest
}

/// Also one who reads late, and speaks on where nobody listens.
#[tokio::test]
async fn brings_all_that_the_local_server_said_before_it_ended() {
    let wires = Wires::start().await;
    let (visitor, local) = switched(&wires).await;
    let (mut visitor, mut local) = (visitor.into_stream(), local.into_stream());
    let said = noise(6 << 20);
    let saying = async {
        local.write_all(&said).await.unwrap();
        local.shutdown().await.unwrap();
        rest(&mut local).await
    };
    let hearing = async {
        for _ in 0..200 {
            visitor.write_all(b"I am here").await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        rest(&mut visitor).await
    };
    let (_, heard) = tokio::join!(saying, hearing);
    assert!(heard == said, "{} bytes", heard.len());
}

#[tokio::test]
async fn ends_one_side_where_the_other_is_gone() {
    let wires = Wires::start().await;
    let switched = || switched(&wires);
    let (mut visitor, local) = switched().await;
    visitor.send("last words").await;
    drop(visitor);
    assert_eq!(local.rest().await, b"last words");

    let (visitor, mut local) = switched().await;
    local.send("last words").await;
    drop(local);
    assert_eq!(visitor.rest().await, b"last words");

    // Before there is an answer, too.
    let (visitor, local, _) = wires.call(WEIRD).await;
    drop(visitor);
    assert_eq!(local.rest().await, b"");
    let (visitor, local, _) = wires.call(WEIRD).await;
    drop(local);
    let mut visitor = visitor;
    let answer = visitor.head().await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");

    let (visitor, local) = switched().await;
    drop(wires.client);
    assert_eq!(visitor.rest().await, b"");
    assert_eq!(local.rest().await, b"");
}

#[tokio::test]
async fn ends_a_websocket_visibly_when_the_relay_stops() {
    let mut wires = Wires::start().await;
    let (mut visitor, mut local) = sockets(&wires).await;
    timeout(PATIENCE, wires.relay.stop())
        .await
        .unwrap()
        .unwrap();
    for socket in [&mut visitor, &mut local] {
        let ended = timeout(PATIENCE, socket.next()).await;
        let ended = ended.expect("it does not end");
        assert!(
            matches!(ended, Some(Err(Error::Protocol(_) | Error::Io(_)))),
            "{ended:?}"
        );
    }
}

/// Grants an upgrade, and sends back what comes.
async fn grant(call: IncomingCall) {
    let (head, body) = call.request.into_parts();
    let response = http::Response::builder()
        .status(101)
        .header("connection", "upgrade")
        .header("upgrade", &head.headers["upgrade"]);
    call.responder.respond(response.body(body).unwrap()).await;
}

#[tokio::test]
async fn a_connection_to_a_named_mirror_is_upgraded_where_its_dialect_can() {
    let relay = Relay::with(owners).await;
    let named = |name| format!("/_ggrok/mirror?name={name}");
    let handshake = in_v2(handshake(relay.address, &named("new"), "k-ana"));
    let (socket, _) = dial(handshake).await;
    let _playing = tokio::spawn(play(socket, Dialect::V2, grant));
    let _old = Mirror::saying(relay.address, "old", "k-ana", "ok").await;
    let asking = async |name| {
        let mut caller = Wire::connect(relay.address).await;
        let request = format!(
            "GET /_ggrok/mirrors/{name}/ HTTP/1.1\r\nHost: {}\r\nX-Ggrok-Token: k-ana\r\nConnection: Upgrade\r\nUpgrade: weird/7\r\n\r\n",
            relay.address
        );
        caller.send(request).await;
        let head = caller.head().await;
        (caller, head)
    };
    let (mut caller, head) = asking("new").await;
    assert_eq!(head.split(' ').nth(1), Some("101"), "{head}");
    for word in ["one", "\0two\u{fc}"] {
        caller.send(word).await;
        assert_eq!(caller.exactly(word.len()).await, word.as_bytes());
    }
    let (_, head) = asking("old").await;
    assert_eq!(fields(&head, "x-ggrok-error"), ["upgrade-not-carried"]);
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_no_answer() {
    let relay = Relay::with(|config| config.http2 = true).await;
    let (socket, _) = dial(in_v2(handshake(relay.address, "/$$ggrok", ""))).await;
    let grant = |call: IncomingCall| async {
        let response = http::Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "weird/7");
        let body = response.body(TunnelBody::empty()).unwrap();
        call.responder.respond(body).await;
    };
    let _playing = tokio::spawn(play(socket, Dialect::V2, grant));
    let answer = crate::support::get(relay.address, "/").await;
    assert_eq!((answer.status(), answer.error()), (502, Some("bad-answer")));
    let answer = Http2::connect(relay.address).await.get("/").await;
    assert_eq!(
        error(&answer),
        (StatusCode::BAD_GATEWAY, Some("bad-answer"))
    );
}

/// What a local server said before its connection broke is not lost with that.
#[tokio::test]
async fn passes_on_what_was_said_before_the_local_connection_broke() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                stream.write_all(SWITCHING.as_bytes()).await.unwrap();
                stream.read_u8().await.unwrap();
                stream.write_all(b"bye").await.unwrap();
                // With a byte unread, which makes the system reset the connection.
            });
        }
    });
    let relay = Relay::start().await;
    let address = relay.address.to_string();
    let settings = ggrok_client::Config::new(address.parse().unwrap(), local.parse().unwrap());
    let _client = crate::support::Client::ready(settings).await;
    let mut lost = 0;
    for _ in 0..200 {
        let mut visitor = TcpStream::connect(relay.address).await.unwrap();
        let request = WEIRD.replace("HOST", &format!("Host: {address}"));
        visitor.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(visitor.read_buf(&mut head).await.unwrap() > 0, "{head:?}");
        }
        visitor.write_all(b"ab").await.unwrap();
        let mut said = Vec::new();
        let reading = timeout(PATIENCE, visitor.read_to_end(&mut said)).await;
        reading.expect("the connection stays open").ok();
        lost += usize::from(said != b"bye");
    }
    serving.abort();
    assert_eq!(lost, 0);
}
