//! A body that breaks off reaches the other side up to there, and then breaks there too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ggrok_client::{Broken, Dialect, Event};
use h2::Reason;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::support::{
    Client, DATA, Frame, HEADERS, Http2, PATIENCE, PREFACE, Relay, SETTINGS, exchange, noise, piece,
};

/// An app that sends the same bytes to everybody, and then breaks off.
struct App {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How an app breaks off.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
}

impl App {
    async fn start(says: Vec<u8>, end: End) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let says: Arc<[u8]> = says.into();
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                open.spawn(break_off(stream, Arc::clone(&says), end));
            }
        });
        Self { address, task }
    }
}

async fn break_off(mut stream: TcpStream, says: Arc<[u8]>, end: End) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    stream.write_all(&says).await.ok();
    if let End::Reset = end {
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

/// A relay and a client of its before a local server.
struct Setup {
    relay: Relay,
    client: Client,
}

impl Setup {
    async fn before(local: SocketAddr, change: impl FnOnce(&mut ggrok_client::Config)) -> Self {
        let relay = Relay::with(|config| config.http2 = true).await;
        let address = relay.address.to_string().parse().unwrap();
        let local = local.to_string().parse::<ggrok_client::LocalAddress>();
        let mut config = ggrok_client::Config::new(address, local.unwrap());
        change(&mut config);
        let client = Client::ready(config).await;
        Self { relay, client }
    }
}

/// Does something often, some at a time.
async fn repeat<F>(times: usize, once: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    for _ in 0..times {
        if running.len() == AT_ONCE {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(once());
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

const AT_ONCE: usize = 4;

const LENGTH: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100000\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What an app says of a body before it breaks off.
fn said(head: &str, body: &[u8]) -> Vec<u8> {
    let mut said = head.as_bytes().to_vec();
    if head == CHUNKED {
        said.extend(format!("{:x}\r\n", body.len()).bytes());
        said.extend(body);
        said.extend(b"\r\n");
    } else {
        said.extend(body);
    }
    said
}

/// The bytes of a body that did not end: those of chunks without the last one, or of a length that was
/// not reached.
fn broken(answer: &[u8]) -> (String, Vec<u8>) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {} bytes", answer.len())) + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut left = &answer[end..];
    if !head.contains("transfer-encoding: chunked") {
        return (head, left.to_vec());
    }
    let mut body = Vec::new();
    while let Some(line) = left.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&left[..line]).unwrap(), 16).unwrap();
        assert!(size > 0, "the body looks whole after {} bytes", body.len());
        body.extend(&left[line + 2..line + 2 + size]);
        left = &left[line + 2 + size + 2..];
    }
    assert_eq!(left, b"");
    (head, body)
}

fn request(relay: SocketAddr, version: &str) -> Vec<u8> {
    format!("GET / HTTP/{version}\r\nHost: {relay}\r\nConnection: close\r\n\r\n").into_bytes()
}

async fn reaches_visitors_of_http1(head: &str, length: usize, end: End, times: usize) {
    let body: Arc<[u8]> = noise(length).into();
    let app = App::start(said(head, &body), end).await;
    let setup = Setup::before(app.address, |_| {}).await;
    let relay = setup.relay.address;
    repeat(times, || {
        let body = Arc::clone(&body);
        async move {
            let answer = exchange(relay, &request(relay, "1.1")).await;
            let (head, got) = broken(&answer);
            assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
            assert_eq!(got.len(), body.len());
            assert_eq!(got, &body[..]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_visitor_gets_all_that_an_app_said_before_it_closed() {
    for head in [LENGTH, CHUNKED] {
        for length in [5, 60_000] {
            reaches_visitors_of_http1(head, length, End::Close, 250).await;
        }
    }
}

#[tokio::test]
async fn a_visitor_gets_all_that_an_app_said_before_it_reset_the_connection() {
    for head in [LENGTH, CHUNKED] {
        for length in [0, 5, 60_000] {
            if (head, length) != (CHUNKED, 0) {
                reaches_visitors_of_http1(head, length, End::Reset, 100).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_visitor_gets_all_that_an_app_said_before_it_closed() {
    let head = LENGTH.replace("100000", "9000000");
    let body = noise(3_000_000);
    let app = App::start(said(&head, &body), End::Close).await;
    let setup = Setup::before(app.address, |_| {}).await;
    let relay = setup.relay.address;
    for _ in 0..3 {
        let mut visitor = TcpStream::connect(relay).await.unwrap();
        SockRef::from(&visitor)
            .set_recv_buffer_size(4 << 10)
            .unwrap();
        visitor.write_all(&request(relay, "1.1")).await.unwrap();
        let mut answer = Vec::new();
        loop {
            let mut some = [0; 4 << 10];
            match timeout(PATIENCE, visitor.read(&mut some)).await.unwrap() {
                Ok(read @ 1..) => answer.extend(&some[..read]),
                _ => break,
            }
        }
        let (_, got) = broken(&answer);
        assert!(got == body, "{} of {} bytes", got.len(), body.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_visitor_of_http2_gets_all_and_a_reset_stream() {
    for (head, length) in [(LENGTH, 0), (LENGTH, 5), (CHUNKED, 5), (CHUNKED, 60_000)] {
        let body: Arc<[u8]> = noise(length).into();
        let app = App::start(said(head, &body), End::Close).await;
        let setup = Setup::before(app.address, |_| {}).await;
        let relay = setup.relay.address;
        repeat(125, || {
            let body = Arc::clone(&body);
            async move {
                let mut visitor = Http2::connect(relay).await;
                for _ in 0..2 {
                    let get = visitor.request("GET", "/");
                    let response = visitor.head(get).await;
                    assert_eq!(response.status(), 500);
                    let (mut stream, mut got) = (response.into_body(), Vec::new());
                    while got.len() < body.len() {
                        got.extend(piece(&mut stream).await.unwrap());
                    }
                    assert_eq!(got, &body[..]);
                    // An empty frame may come first.
                    let error = loop {
                        match piece(&mut stream).await {
                            Ok(more) => assert_eq!(more, ""),
                            Err(error) => break error,
                        }
                    };
                    assert!(error.is_reset(), "{error}");
                }
            }
        })
        .await;
    }
}

/// Speaks HTTP/2 to a client, and resets its first stream after these bytes.
async fn reset_stream(mut stream: TcpStream, body: Vec<u8>) {
    let mut preface = vec![0; PREFACE.len()];
    if stream.read_exact(&mut preface).await.is_err() {
        return;
    }
    stream
        .write_all(&Frame::new(SETTINGS, 0, 0, []).bytes())
        .await
        .unwrap();
    let mut read = Vec::new();
    // A head comes behind some frames of the connection.
    while !frames(&read).any(|kind| kind == HEADERS) {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
    let mut said = Frame::headers(1, 0, &[(":status", b"500")]).bytes();
    for piece in body.chunks(16 << 10) {
        said.extend(Frame::new(DATA, 0, 1, piece).bytes());
    }
    said.extend(Frame::reset(1, Reason::INTERNAL_ERROR).bytes());
    stream.write_all(&said).await.unwrap();
    // Until the client goes.
    while stream.read_buf(&mut read).await.unwrap_or(0) > 0 {}
}

/// The kinds of the frames that are there.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (head, _) = bytes.split_at_checked(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let kind = head[3];
        bytes = bytes.get(9 + length..)?;
        Some(kind)
    })
}

#[tokio::test]
async fn a_visitor_gets_all_that_an_app_said_before_it_reset_a_stream() {
    for length in [5, 60_000] {
        let body = noise(length);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let local = listener.local_addr().unwrap();
        let says = body.clone();
        let app = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                open.spawn(reset_stream(stream, says.clone()));
            }
        });
        for _ in 0..20 {
            let setup = Setup::before(local, |config| config.local_http2 = true).await;
            let relay = setup.relay.address;
            let answer = exchange(relay, &request(relay, "1.1")).await;
            let (_, got) = broken(&answer);
            assert!(got == body, "{} of {} bytes", got.len(), body.len());
        }
        app.abort();
    }
}

#[tokio::test]
async fn a_unary_dialect_says_how_much_came() {
    for (head, told) in [
        (LENGTH, "after 5 of 100,000 bytes"),
        (CHUNKED, "after 5 bytes"),
    ] {
        let app = App::start(said(head, b"hello"), End::Close).await;
        let unary = |config: &mut ggrok_client::Config| config.dialect = Some(Dialect::Ggrok);
        let setup = Setup::before(app.address, unary).await;
        let relay = setup.relay.address;
        let answer = exchange(relay, &request(relay, "1.1")).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(answer.contains("x-ggrok-error: local-broken"), "{answer}");
        assert!(answer.contains(told), "{answer}");
    }
}

#[tokio::test]
async fn the_client_tells_of_a_body_that_broke_off() {
    for (dialect, status) in [(Dialect::V2, 500), (Dialect::Ggrok, 502)] {
        for (head, told) in [
            (LENGTH, "broke off after 5 of 100,000 bytes"),
            (CHUNKED, "broke off after 5 bytes"),
        ] {
            let app = App::start(said(head, b"hello"), End::Close).await;
            let mut setup =
                Setup::before(app.address, |config| config.dialect = Some(dialect)).await;
            let relay = setup.relay.address;
            exchange(relay, &request(relay, "1.1")).await;
            let Event::Answered {
                status: answered,
                error,
                code,
                broken,
                ..
            } = setup.client.answered().await
            else {
                unreachable!()
            };
            assert_eq!((answered.as_u16(), broken), (status, Some(Broken::App)));
            assert_eq!((error.as_deref(), code), (Some(told), Some("local-broken")));
        }
    }
}

/// A visitor whose request's body breaks off: the app gets what came of it, and the break.
async fn reaches_the_app(framing: &str, length: usize, end: End, times: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    let (arrived, mut arrivals) = mpsc::channel(AT_ONCE);
    let app = tokio::spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let arrived = arrived.clone();
            open.spawn(async move {
                let mut request = Vec::new();
                stream.read_to_end(&mut request).await.ok();
                // The client looks once whether anybody is there.
                if !request.is_empty() {
                    arrived.send(request).await.unwrap();
                }
            });
        }
    });
    let setup = Setup::before(local, |_| {}).await;
    let relay = setup.relay.address;
    let body = noise(length);
    for time in 0..times {
        let mut said =
            format!("POST / HTTP/1.1\r\nHost: {relay}\r\n{framing}\r\n\r\n").into_bytes();
        if framing.contains("chunked") {
            said.extend(format!("{:x}\r\n", body.len()).bytes());
        }
        said.extend(&body);
        let mut visitor = TcpStream::connect(relay).await.unwrap();
        visitor.write_all(&said).await.unwrap();
        if let End::Reset = end {
            SockRef::from(&visitor)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
        drop(visitor);
        let request = timeout(PATIENCE, arrivals.recv()).await;
        let request = request.unwrap_or_else(|_| panic!("{end:?}: {time} came"));
        let (head, got) = broken(&request.unwrap());
        assert!(head.starts_with("POST / "), "{head}");
        assert!(got == body, "{end:?}: {} of {} bytes", got.len(), length);
    }
    app.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_gets_all_that_a_visitor_said_before_it_left() {
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        for length in [5, 60_000] {
            reaches_the_app(framing, length, End::Close, 100).await;
        }
    }
    reaches_the_app("Content-Length: 100000", 60_000, End::Reset, 50).await;
}
