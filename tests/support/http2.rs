//! HTTP/2 at the visitor, by a library that keeps the rules and frame by frame, and at the local server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::{PATIENCE, Wire};

/// A visitor's connection that keeps the rules of HTTP/2. Dropping it closes it.
pub struct Http2 {
    pub sender: SendRequest<Bytes>,
    pub connection: JoinHandle<Result<(), h2::Error>>,
    address: SocketAddr,
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What came back, and what is still to be said.
pub struct Streamed {
    pub response: h2::client::ResponseFuture,
    pub body: SendStream<Bytes>,
}

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut builder = h2::client::Builder::new();
        // As other libraries do before they have heard of the relay's limit. The connection is not
        // to run full by one stream.
        builder
            .initial_max_send_streams(100)
            .initial_connection_window_size(1 << 20);
        let (sender, connection) = builder.handshake(stream).await.unwrap();
        Self {
            sender,
            connection: tokio::spawn(connection),
            address,
        }
    }

    /// A request for the relay's own host.
    pub fn request(&self, method: &str, target: &str) -> http::request::Builder {
        let uri = format!("http://{}{target}", self.address);
        Request::builder().method(method).uri(uri)
    }

    /// Sends a request whose body follows.
    pub async fn begin(&mut self, request: http::request::Builder) -> Streamed {
        let (response, body) = self.send(request, false).await;
        Streamed { response, body }
    }

    /// Sends a request without a body, and returns the head of its response.
    pub async fn head(&mut self, request: http::request::Builder) -> Response<RecvStream> {
        let (response, _) = self.send(request, true).await;
        let response = timeout(PATIENCE, response).await;
        response.expect("no response in time").unwrap()
    }

    /// Sends a request without a body, and returns its whole response.
    pub async fn ask(&mut self, request: http::request::Builder) -> Response<Vec<u8>> {
        let (head, body) = self.head(request).await.into_parts();
        let (body, _) = whole(body).await.unwrap();
        Response::from_parts(head, body)
    }

    /// Sends a GET with the relay's host.
    pub async fn get(&mut self, target: &str) -> Response<Vec<u8>> {
        let request = self.request("GET", target);
        self.ask(request).await
    }

    async fn send(
        &mut self,
        request: http::request::Builder,
        end: bool,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let ready = timeout(PATIENCE, self.sender.clone().ready()).await;
        let mut sender = ready.expect("no room for a stream in time").unwrap();
        sender.send_request(request.body(()).unwrap(), end).unwrap()
    }

    /// Waits until the relay has closed the connection, and returns how.
    pub async fn closed(&mut self) -> Result<(), h2::Error> {
        let closed = timeout(PATIENCE, &mut self.connection).await;
        closed.expect("the relay does not close").unwrap()
    }
}

/// Reads a body to its end, with its trailers.
pub async fn whole(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            bytes.extend_from_slice(&piece);
        }
        Ok((bytes, body.trailers().await?))
    };
    let read = timeout(PATIENCE, reading).await;
    read.expect("the body does not end")
}

/// The next piece of a body.
pub async fn piece(body: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let piece = timeout(PATIENCE, body.data()).await;
    let piece = piece.expect("no piece in time").expect("the body ended")?;
    body.flow_control().release_capacity(piece.len())?;
    Ok(piece)
}

/// The code by which ggrok marks its own answers.
pub fn error<B>(response: &Response<B>) -> (StatusCode, Option<&str>) {
    let code = response.headers().get("x-ggrok-error");
    (response.status(), code.map(|code| code.to_str().unwrap()))
}

/// A visitor's connection in HTTP/2, frame by frame, which keeps no rule.
pub struct Frames {
    pub wire: Wire,
}

/// One frame (RFC 9113, section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self {
            kind,
            flags,
            stream,
            payload,
        }
    }

    /// A head, each field written out (RFC 7541, section 6.2.2).
    pub fn headers(stream: u32, flags: u8, fields: &[(&str, &[u8])]) -> Self {
        Self::new(HEADERS, flags | END_HEADERS, stream, fields_block(fields))
    }

    /// A reset.
    pub fn reset(stream: u32, reason: Reason) -> Self {
        let code = u32::from(reason).to_be_bytes();
        Self::new(RST_STREAM, 0, stream, code)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let mut bytes = length[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Why a RST_STREAM or GOAWAY was sent.
    pub fn reason(&self) -> Reason {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code: [u8; 4] = self.payload[at..at + 4].try_into().unwrap();
        u32::from_be_bytes(code).into()
    }
}

/// Fields as HPACK writes them without its tables.
pub fn fields_block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_bytes(), value] {
            integer(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn integer(block: &mut Vec<u8>, number: usize) {
    let Some(mut rest) = number.checked_sub(127) else {
        return block.push(u8::try_from(number).unwrap());
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

impl Frames {
    /// Connects, and says the preface with no settings.
    pub async fn connect(address: SocketAddr) -> Self {
        let mut wire = Wire::connect(address).await;
        wire.send(PREFACE).await;
        wire.send(Frame::new(SETTINGS, 0, 0, []).bytes()).await;
        Self { wire }
    }

    pub async fn send(&mut self, frame: &Frame) {
        self.wire.send(frame.bytes()).await;
    }

    /// The next frame.
    pub async fn next(&mut self) -> Frame {
        let head = self.wire.exactly(9).await;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..9].try_into().unwrap()),
            payload: self.wire.exactly(length).await,
        }
    }

    /// The next frame of one of these kinds.
    pub async fn next_of(&mut self, kinds: &[u8]) -> Frame {
        loop {
            let frame = self.next().await;
            if kinds.contains(&frame.kind) {
                return frame;
            }
        }
    }
}

/// A local server that speaks HTTP/2 alone, and whose scenario answers. Dropping it ends it.
pub struct LocalHttp2 {
    pub address: SocketAddr,
    calls: mpsc::Receiver<LocalCall>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// A request that came to a local server.
pub struct LocalCall {
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
    /// Counts up from 1.
    pub connection: usize,
    /// Makes the connection end when its calls have.
    pub go_away: Arc<Notify>,
}

impl Drop for LocalHttp2 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LocalHttp2 {
    pub async fn start() -> Self {
        Self::allowing(100).await
    }

    /// Starts one that allows so many calls at a time on a connection.
    pub async fn allowing(calls: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(calls);
        let connections = Arc::new(AtomicUsize::new(0));
        let opened = Arc::clone(&connections);
        let (sender, calls) = mpsc::channel(1000);
        let task = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (sender, opened) = (sender.clone(), Arc::clone(&opened));
                let builder = builder.clone();
                open.spawn(async move {
                    stream.set_nodelay(true).unwrap();
                    // The client looks once whether anybody is there.
                    if let Ok(connection) = builder.handshake(stream).await {
                        let number = opened.fetch_add(1, Ordering::Relaxed) + 1;
                        serve(connection, number, sender).await;
                    }
                });
            }
        });
        Self {
            address,
            calls,
            connections,
            task,
        }
    }

    /// The next request.
    pub async fn call(&mut self) -> LocalCall {
        let call = timeout(PATIENCE, self.calls.recv()).await;
        call.expect("nobody came to the local server").unwrap()
    }

    /// Connections on which HTTP/2 was spoken so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(
    mut connection: h2::server::Connection<TcpStream, Bytes>,
    number: usize,
    calls: mpsc::Sender<LocalCall>,
) {
    let go_away = Arc::new(Notify::new());
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = go_away.notified() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        let call = LocalCall {
            request,
            respond,
            connection: number,
            go_away: Arc::clone(&go_away),
        };
        if calls.send(call).await.is_err() {
            return;
        }
    }
}

impl LocalCall {
    /// Answers with a text.
    pub fn say(mut self, text: &'static str) {
        let mut body = self.begin();
        body.send_data(text.into(), true).unwrap();
    }

    /// Answers with a head whose body follows.
    pub fn begin(&mut self) -> SendStream<Bytes> {
        self.respond
            .send_response(Response::new(()), false)
            .unwrap()
    }

    /// Waits until the stream is reset, and returns why.
    pub async fn reset(&mut self) -> Reason {
        let reset = std::future::poll_fn(|cx| self.respond.poll_reset(cx));
        let reset = timeout(PATIENCE, reset).await;
        reset.expect("the stream is not reset").unwrap()
    }
}
