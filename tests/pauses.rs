//! A visitor may pause wherever it likes: between two requests, and within one.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Origin, PATIENCE, Relay, Seen, Setup, Wire};

/// Longer than the relay waits until a connection counts as one that pauses.
const PAUSE: Duration = Duration::from_millis(350);

const LARGE: usize = 12 << 20;

/// Says what was asked for, and how much came with it.
fn app(seen: &Seen) -> Vec<u8> {
    let body = match seen.target() {
        "/large" => vec![b'x'; LARGE],
        target => format!("{target} {}", seen.body.len()).into_bytes(),
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

fn get(at: SocketAddr, target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {at}\r\nX: y\r\n\r\n")
}

fn post(at: SocketAddr, body: &str) -> String {
    let length = body.len();
    format!("POST /p HTTP/1.1\r\nHost: {at}\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Sends pieces with a pause between them, and reads these answers.
async fn converse(at: SocketAddr, pieces: Vec<String>, answers: Vec<&'static str>) {
    let mut wire = Wire::connect(at).await;
    for (number, piece) in pieces.into_iter().enumerate() {
        if number > 0 {
            sleep(PAUSE).await;
        }
        wire.send(piece).await;
    }
    for answer in answers {
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}: {head}");
        assert_eq!(wire.exactly(answer.len()).await, answer.as_bytes());
    }
}

#[tokio::test]
async fn loses_nothing_wherever_a_visitor_pauses() {
    let setup = Setup::start(Origin::start(app).await).await;
    let at = setup.relay.address;
    let (one, two) = (get(at, "/1"), get(at, "/2"));
    let long = get(at, "/3").replace("X: y", &format!("X: {}", "y".repeat(6000)));
    let mut cases = JoinSet::new();
    for cut in [1, 2, 20, two.len() - 3, two.len() - 1] {
        let (early, late) = two.split_at(cut);
        // Behind a whole request, and after a pause of its own.
        let behind = vec![format!("{one}{early}"), late.to_owned()];
        cases.spawn(converse(at, behind, vec!["/1 0", "/2 0"]));
        let apart = vec![one.clone(), early.to_owned(), late.to_owned()];
        cases.spawn(converse(at, apart, vec!["/1 0", "/2 0"]));
    }
    for cut in [1, 2047, 2048, 2049, 4096] {
        let (early, late) = long.split_at(cut);
        let pieces = vec![one.clone(), early.to_owned(), late.to_owned()];
        cases.spawn(converse(at, pieces, vec!["/1 0", "/3 0"]));
    }
    let posted = post(at, "ten bytes.");
    for cut in [1, posted.len() - 10, posted.len() - 5] {
        let (early, late) = posted.split_at(cut);
        let pieces = vec![early.to_owned(), late.to_owned(), one.clone(), two.clone()];
        cases.spawn(converse(at, pieces, vec!["/p 10", "/1 0", "/2 0"]));
    }
    let all = format!("{one}{posted}{long}{two}");
    let answers = vec!["/1 0", "/p 10", "/3 0", "/2 0"];
    cases.spawn(converse(at, vec![String::new(), all], answers));
    while let Some(done) = cases.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn keeps_what_a_visitor_has_still_to_take() {
    let setup = Setup::start(Origin::start(app).await).await;
    let at = setup.relay.address;
    let mut wire = Wire::connect(at).await;
    for _ in 0..2 {
        wire.send(get(at, "/large")).await;
        sleep(2 * PAUSE).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200"));
        sleep(PAUSE).await;
        let body = wire.exactly(LARGE).await;
        assert!(body.iter().all(|byte| *byte == b'x'));
    }
    wire.send(get(at, "/1")).await;
    assert!(wire.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn closes_on_a_visitor_who_pauses_too_long() {
    let idle = Duration::from_secs(1);
    let relay = Relay::with(|config| config.idle_timeout = idle).await;
    let at = relay.address;
    let health = format!("GET /_ggrok/health HTTP/1.1\r\nHost: {at}\r\n\r\n");
    for begun in ["", "G", "GET / HTTP/1.1\r\n"] {
        let mut wire = Wire::connect(at).await;
        wire.send(&health).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200"));
        let answered = Instant::now();
        sleep(PAUSE).await;
        wire.send(begun).await;
        timeout(PATIENCE, wire.rest()).await.unwrap();
        let waited = answered.elapsed();
        assert!(waited >= idle.mul_f32(0.9), "{begun:?}: {waited:?}");
    }
}

#[tokio::test]
async fn stops_beside_a_visitor_who_pauses_and_answers_one_who_asks_just_then() {
    let mut setup = Setup::start(Origin::start(app).await).await;
    let at = setup.relay.address;
    let (mut silent, mut asking) = (Wire::connect(at).await, Wire::connect(at).await);
    for wire in [&mut silent, &mut asking] {
        wire.send(get(at, "/1")).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200"));
        wire.exactly(4).await;
    }
    sleep(PAUSE).await;
    asking.send(get(at, "/_ggrok/health")).await;
    let stopping = timeout(PATIENCE, setup.relay.stop());
    let (stopped, head) = tokio::join!(stopping, asking.head());
    stopped.unwrap().unwrap();
    assert!(head.starts_with("HTTP/1.1 "), "{head}");
    assert_eq!(silent.rest().await, b"");
}
