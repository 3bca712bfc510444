//! What the fuzz targets run. Their corpora are replayed by a plain test.

#[path = "../tests/pair/memory.rs"]
#[allow(unreachable_pub, reason = "it is public to the tests that share it")]
mod memory;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};

use self::memory::{End, ends};
use crate::unary::Codec;
use crate::v2::{self, Frame};
use crate::{Arrival, Dialect, Incoming, Limits, Message, Tunnel, accept, open, remove_hop_by_hop};

/// A frame that is read and written again is the same frame.
pub fn frame(data: &[u8]) {
    let Ok(Some(frame)) = Frame::decode(Bytes::copy_from_slice(data)) else {
        return;
    };
    let again = Frame::decode(frame.clone().encode().concat().into());
    assert_eq!(again, Ok(Some(frame)));
}

/// An envelope or head that is read and written again says the same.
pub fn envelope(data: &[u8]) {
    reread_envelope(Codec::Ggrok, data);
    // Past the outer base64, which says nothing new.
    reread_envelope(Codec::MagicMirror, BASE64_STANDARD.encode(data).as_bytes());
    v2::reread_heads(data);
}

fn reread_envelope(codec: Codec, message: &[u8]) {
    if let Ok(request) = codec.decode_request(message) {
        let (head, body) = request.into_parts();
        // Another program's relay may carry what ours refuses.
        if let Ok(again) = codec.encode_request(head.clone(), &body) {
            let again = codec.decode_request(again.as_bytes()).expect("we wrote it");
            assert_eq!((again.uri(), again.body()), (&head.uri, &body));
            assert_eq!(again.headers(), &head.headers);
        }
    }
    if let Ok(response) = codec.decode_response(message, &Method::GET) {
        let (head, body) = response.into_parts();
        let again = codec
            .encode_response(&head, &body)
            .expect("it came as text");
        let again = codec
            .decode_response(again.as_bytes(), &Method::GET)
            .expect("we wrote it");
        assert_eq!((again.headers(), again.body()), (&head.headers, &body));
    }
}

/// Fields, one a line, that are carried arrive as they are in every dialect that carries them, and
/// what concerns one hop is not carried.
pub fn fields(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n');
    let mut headers: HeaderMap = lines.filter_map(field).collect();
    let named = headers.get_all(CONNECTION).iter();
    let named: Vec<HeaderName> = named
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| ![HOST, CONTENT_LENGTH, TE].contains(name))
        .collect();
    remove_hop_by_hop(&mut headers);
    for name in named.iter().chain(&[CONNECTION, TRANSFER_ENCODING]) {
        assert!(!headers.contains_key(name), "{name} went on");
    }
    let once = headers.clone();
    remove_hop_by_hop(&mut headers);
    assert_eq!(headers, once);

    let mut response = Response::new(());
    *response.headers_mut() = headers;
    let (head, ()) = response.into_parts();
    v2::carry(&head);
    for codec in [Codec::Ggrok, Codec::MagicMirror] {
        if let Ok(message) = codec.encode_response(&head, &Bytes::new()) {
            reread_envelope(codec, message.as_bytes());
        }
    }
}

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

/// A session survives a hostile peer and any use of its handles, and ends with its WebSocket.
pub fn session(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(async {
        let (first, operations) = data.split_first().unwrap_or((&0, &[]));
        // The high bit is the end, the others are the dialect.
        let dialect = Dialect::ALL[usize::from(first & 0x7f) % Dialect::ALL.len()];
        let (near, far) = ends();
        if first & 0x80 == 0 {
            let (tunnel, session) = open(dialect, LIMITS);
            let session = tokio::spawn(session.run(near));
            relay(tunnel, far, operations).await;
            settled(session).await;
        } else {
            let (incoming, session) = accept(dialect, LIMITS);
            let session = tokio::spawn(session.run(near));
            client(incoming, far, operations).await;
            settled(session).await;
        }
    });
}

const LIMITS: Limits = Limits {
    body: 1 << 10,
    held: 1 << 20,
    window: 1 << 18,
    frame: 1 << 20,
    calls: 4,
    call_timeout: Duration::from_secs(28),
    answer_timeout: Duration::from_secs(30),
    stream_idle: Duration::from_secs(30),
    body_idle: Duration::from_secs(28),
    ping_every: Duration::from_secs(15),
    dead_after: Duration::from_secs(40),
    client_ping_every: Duration::from_secs(5),
    client_pong_timeout: Duration::from_secs(5),
};

async fn settled<T>(session: tokio::task::JoinHandle<T>) {
    let ended = timeout(Duration::from_secs(60), session).await;
    ended
        .expect("the session outlived its WebSocket")
        .expect("the session panicked");
}

/// The operations on a list: a byte for what to do, a byte for how much.
fn steps(operations: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = operations;
    std::iter::from_fn(move || {
        let (&[what, length], behind) = rest.split_first_chunk()?;
        let (bytes, behind) = behind.split_at(behind.len().min(length.into()));
        rest = behind;
        Some((what, bytes))
    })
}

async fn relay(tunnel: Tunnel, mut far: End, operations: &[u8]) {
    let mut calls = JoinSet::new();
    for (what, bytes) in steps(operations) {
        match what % 4 {
            0 => {
                let (tunnel, body) = (tunnel.clone(), Bytes::copy_from_slice(bytes));
                calls.spawn(async move {
                    let request = Request::post("/").body(Full::new(body));
                    let response = tunnel.call(request.expect("it is valid")).await?;
                    response.into_body().collect().await.ok();
                    Ok::<_, crate::CallError>(())
                });
            }
            1 => calls.abort_all(),
            _ => peer(&mut far, what, bytes).await,
        }
    }
    drop((far, tunnel));
    while let Some(call) = calls.join_next().await {
        let panicked = call.is_err_and(|error| error.is_panic());
        assert!(!panicked, "a call panicked");
    }
}

async fn client(mut incoming: Incoming, mut far: End, operations: &[u8]) {
    let mut answers = JoinSet::new();
    for (what, bytes) in steps(operations) {
        match what % 4 {
            0 => {
                let soon = timeout(Duration::from_millis(1), incoming.next()).await;
                if let Ok(Some(Arrival::Call(call))) = soon {
                    let body = Full::new(Bytes::copy_from_slice(bytes));
                    answers.spawn(call.responder.respond(Response::new(body)));
                }
            }
            1 if bytes.is_empty() => incoming.go_away(),
            1 => answers.abort_all(),
            _ => peer(&mut far, what, bytes).await,
        }
    }
    drop((far, incoming));
    while let Some(answer) = answers.join_next().await {
        let panicked = answer.is_err_and(|error| error.is_panic());
        assert!(!panicked, "an answer panicked");
    }
}

/// What the peer does: sends bytes as a message, or reads for a while.
async fn peer(far: &mut End, what: u8, bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let message = match what % 12 {
        2 | 6 => Message::Binary(bytes),
        10 => Message::Text(String::from_utf8_lossy(&bytes).into_owned().into()),
        // As magic-mirror's envelopes come, which no fuzzer would guess.
        11 => Message::Text(BASE64_STANDARD.encode(bytes).into()),
        _ => {
            let reading = async { while far.next().await.is_some() {} };
            timeout(Duration::from_secs(1), reading).await.ok();
            return;
        }
    };
    timeout(Duration::from_secs(1), far.send(message))
        .await
        .ok();
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    fn replay(target: &str, run: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let mut files = 0;
        for file in fs::read_dir(corpus).unwrap() {
            run(&fs::read(file.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 0, "{target} has no corpus");
    }

    #[test]
    fn replays_the_corpus_of_frames() {
        replay("frame", super::frame);
    }

    #[test]
    fn replays_the_corpus_of_envelopes() {
        replay("envelope", super::envelope);
    }

    #[test]
    fn replays_the_corpus_of_fields() {
        replay("fields", super::fields);
    }

    #[test]
    fn replays_the_corpus_of_sessions() {
        replay("session", super::session);
    }
}
