//! Bodies flow both ways as they come, and a call that breaks anywhere ends everywhere.

use tokio::task::JoinSet;

use crate::support::{Wire, Wires, fields, get, noise};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

/// The size of a body that no buffer on the way can hold.
const LARGE: usize = 40 << 20;

fn length(head: &str) -> Vec<&str> {
    fields(head, "content-length")
}

#[tokio::test]
async fn shows_each_piece_of_a_response_before_the_next_is_there() {
    let wires = Wires::start().await;
    let (mut visitor, mut local, _) = wires.call("GET /events HTTP/1.1\r\nHOST\r\n\r\n").await;
    local
        .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    // The head goes ahead of a body that has not begun.
    let head = visitor.head().await;
    assert_eq!(fields(&head, "content-type"), ["text/event-stream"]);
    for number in 0..50 {
        let event = format!("data: {number}\n\n").into_bytes();
        local.send_chunk(&event).await;
        assert_eq!(visitor.chunks(event.len()).await, event);
    }
    local.send("0\r\n\r\n").await;
    assert_eq!(visitor.until(b"\r\n\r\n").await, b"0\r\n\r\n");
}

#[tokio::test]
async fn shows_each_piece_also_to_a_visitor_who_asked_to_close() {
    let wires = Wires::start().await;
    let get = "GET /events HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n";
    let (mut visitor, mut local, _) = wires.call(get).await;
    local.send(CHUNKED).await;
    visitor.head().await;
    for number in 0..5 {
        let event = format!("data: {number}\n\n").into_bytes();
        local.send_chunk(&event).await;
        assert_eq!(visitor.chunks(event.len()).await, event);
    }
    local.send("0\r\n\r\n").await;
    assert_eq!(visitor.rest().await, b"0\r\n\r\n");
}

#[tokio::test]
async fn shows_each_piece_of_a_request_before_the_next_is_there() {
    let wires = Wires::start().await;
    let post = "POST / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut visitor, mut local, head) = wires.call(post).await;
    assert_eq!(fields(&head, "transfer-encoding"), ["chunked"]);
    for number in 0..50 {
        let line = format!("{{\"number\":{number}}}\n").into_bytes();
        visitor.send_chunk(&line).await;
        assert_eq!(local.chunks(line.len()).await, line);
    }
    visitor.send("0\r\n\r\n").await;
    assert_eq!(local.until(b"\r\n\r\n").await, b"0\r\n\r\n");
    local.send(OK).await;
    visitor.head().await;
    assert_eq!(visitor.exactly(2).await, b"hi");
}

#[tokio::test]
async fn talks_both_ways_at_once() {
    let wires = Wires::start().await;
    let post = "POST / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut visitor, mut local, _) = wires.call(post).await;
    local.send(CHUNKED).await;
    visitor.head().await;
    for number in 0..50_u8 {
        visitor.send_chunk(&[number]).await;
        let said = local.chunks(1).await;
        local.send_chunk(&said).await;
        assert_eq!(visitor.chunks(1).await, [number]);
    }
}

#[tokio::test]
async fn carries_large_responses() {
    let wires = Wires::start().await;
    let sent = noise(LARGE);
    let get = "GET / HTTP/1.1\r\nHOST\r\n\r\n";

    let (mut visitor, mut local, _) = wires.call(get).await;
    let sending = async {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
        local.send(head).await;
        local.send(&sent).await;
    };
    let receiving = async {
        let head = visitor.head().await;
        assert_eq!(length(&head), [LARGE.to_string()]);
        assert!(visitor.exactly(LARGE).await == sent);
    };
    tokio::join!(sending, receiving);
    drop(local);

    let (mut visitor, mut local, _) = wires.call(get).await;
    let sending = async {
        local.send(CHUNKED).await;
        for piece in sent.chunks(100_000) {
            local.send_chunk(piece).await;
        }
        local.send("0\r\n\r\n").await;
    };
    let receiving = async {
        let head = visitor.head().await;
        assert_eq!(fields(&head, "transfer-encoding"), ["chunked"]);
        assert!(visitor.chunks(LARGE).await == sent);
        assert_eq!(visitor.chunk().await, b"");
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn carries_large_requests() {
    let wires = Wires::start().await;
    let sent = noise(LARGE);

    let post = format!("POST / HTTP/1.1\r\nHOST\r\nContent-Length: {LARGE}\r\n\r\n");
    let (mut visitor, mut local, head) = wires.call(post).await;
    assert_eq!(length(&head), [LARGE.to_string()]);
    let (_, received) = tokio::join!(visitor.send(&sent), local.exactly(LARGE));
    assert!(received == sent);
    local.send(OK).await;
    visitor.head().await;
    drop(local);

    let post = "POST / HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut visitor, mut local, head) = wires.call(post).await;
    assert_eq!(fields(&head, "transfer-encoding"), ["chunked"]);
    let sending = async {
        for piece in sent.chunks(100_000) {
            visitor.send_chunk(piece).await;
        }
        visitor.send("0\r\n\r\n").await;
    };
    let receiving = async {
        assert!(local.chunks(LARGE).await == sent);
        assert_eq!(local.chunk().await, b"");
    };
    tokio::join!(sending, receiving);
    local.send(OK).await;
    visitor.head().await;
}

#[tokio::test]
async fn passes_an_answer_on_while_the_upload_still_runs() {
    let wires = Wires::start().await;
    let post = format!("POST / HTTP/1.1\r\nHOST\r\nContent-Length: {LARGE}\r\n\r\n");
    for kept in [false, true] {
        let (mut visitor, mut local, _) = wires.call(&post).await;
        let connection = if kept { "keep-alive" } else { "close" };
        let refusal = format!(
            "HTTP/1.1 413 Content Too Large\r\nConnection: {connection}\r\nContent-Length: 5\r\n\r\nlarge"
        );
        visitor.send(noise(1 << 20)).await;
        local.send(refusal).await;
        let head = visitor.head().await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
        assert_eq!(visitor.exactly(5).await, b"large");
        // The visitor finds no one to send the rest to.
        while visitor.try_send(noise(1 << 20)).await.is_ok() {}
        // The next call is not caught behind it.
        let (mut visitor, mut next, _) = wires.call("GET / HTTP/1.1\r\nHOST\r\n\r\n").await;
        next.send(OK).await;
        assert!(visitor.head().await.starts_with("HTTP/1.1 200 "));
        // Nor does the local server wait for the rest of the body.
        local.rest().await;
    }
}

#[tokio::test]
async fn asks_for_the_body_when_the_local_server_is_reached() {
    let wires = Wires::start().await;
    let post = "POST / HTTP/1.1\r\nHOST\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let (mut visitor, mut local, _) = wires.call(post).await;
    assert_eq!(visitor.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    visitor.send("body").await;
    assert_eq!(local.exactly(4).await, b"body");
    local.send(OK).await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn asks_for_no_body_when_the_local_server_is_down() {
    let Wires {
        listener,
        relay,
        client,
    } = Wires::start().await;
    drop(listener);
    let mut visitor = Wire::connect(relay.address).await;
    let host = relay.address;
    visitor
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        ))
        .await;
    let head = visitor.head().await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(fields(&head, "x-ggrok-error"), ["local-unreachable"]);
    drop(client);
}

#[tokio::test]
async fn carries_trailers_both_ways() {
    let wires = Wires::start().await;
    let (mut visitor, mut local, head) = wires
        .call(
            "POST / HTTP/1.1\r\nHOST\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await;
    assert_eq!(fields(&head, "te"), ["trailers"]);
    assert_eq!(fields(&head, "trailer"), ["X-Sum"]);
    visitor.send("4\r\nbody\r\n0\r\nX-Sum: 12\r\n\r\n").await;
    assert_eq!(local.chunks(4).await, b"body");
    assert_eq!(local.chunk().await, b"");
    assert_eq!(
        fields(&format!("\n{}", local.head().await), "x-sum"),
        ["12"]
    );

    let head = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n";
    local.send(head).await;
    assert_eq!(fields(&visitor.head().await, "trailer"), ["X-Sum"]);
    local.send("6\r\nanswer\r\n0\r\nX-Sum: 34\r\n\r\n").await;
    assert_eq!(visitor.chunks(6).await, b"answer");
    assert_eq!(visitor.chunk().await, b"");
    assert_eq!(
        fields(&format!("\n{}", visitor.head().await), "x-sum"),
        ["34"]
    );
}

#[tokio::test]
async fn cuts_a_response_where_the_local_server_breaks_off() {
    let wires = Wires::start().await;
    let get = "GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n";
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";

    // Both where the visitor has seen the beginning, and where all came at once.
    for at_once in [false, true] {
        let (mut visitor, mut local, _) = wires.call(get).await;
        local.send(format!("{sized}half")).await;
        if !at_once {
            visitor.head().await;
            assert_eq!(visitor.exactly(4).await, b"half");
        }
        drop(local);
        let rest = visitor.rest().await;
        assert!(at_once || rest.is_empty());

        let (mut visitor, mut local, _) = wires.call(get).await;
        local.send(format!("{CHUNKED}4\r\nhalf\r\n")).await;
        if !at_once {
            visitor.head().await;
            assert_eq!(visitor.chunks(4).await, b"half");
        }
        drop(local);
        let rest = visitor.rest().await;
        assert!(at_once || rest.is_empty());
        assert!(!rest.ends_with(b"0\r\n\r\n") || rest.starts_with(b"HTTP/1.1 502 "));
    }
}

#[tokio::test]
async fn cuts_a_response_where_the_tunnel_breaks() {
    let wires = Wires::start().await;
    let (waiting, _unanswered, _) = wires
        .call("GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n")
        .await;
    let (mut visitor, mut local, _) = wires.call("GET / HTTP/1.1\r\nHOST\r\n\r\n").await;
    local.send(CHUNKED).await;
    local.send_chunk(b"half").await;
    visitor.head().await;
    assert_eq!(visitor.chunks(4).await, b"half");
    drop(wires.client);
    assert_eq!(visitor.rest().await, b"");
    let answer = String::from_utf8(waiting.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(fields(&answer, "x-ggrok-error"), ["tunnel-closed"]);
    local.rest().await;
}

#[tokio::test]
async fn ends_the_local_request_when_the_visitor_leaves() {
    let wires = Wires::start().await;
    let get = "GET / HTTP/1.1\r\nHOST\r\n\r\n";

    let (waiting, local, _) = wires.call(get).await;
    drop(waiting);
    assert_eq!(local.rest().await, b"");

    // Quiet in the middle of a response, and with a full pipe.
    let (mut visitor, mut local, _) = wires.call(get).await;
    local.send(CHUNKED).await;
    local.send_chunk(b"half").await;
    visitor.head().await;
    drop(visitor);
    assert_eq!(local.rest().await, b"");

    let (mut visitor, mut local, _) = wires.call(get).await;
    local
        .send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
        ))
        .await;
    visitor.head().await;
    let sending = async { local.try_send(noise(LARGE)).await };
    let leaving = async {
        visitor.exactly(1 << 20).await;
        drop(visitor);
    };
    let (sent, ()) = tokio::join!(sending, leaving);
    assert!(sent.is_err(), "the local server was let finish");

    let post = "POST / HTTP/1.1\r\nHOST\r\nContent-Length: 100\r\n\r\nhalf";
    let (visitor, mut local, _) = wires.call(post).await;
    assert_eq!(local.exactly(4).await, b"half");
    drop(visitor);
    assert_eq!(local.rest().await, b"");
}

#[tokio::test]
async fn passes_any_bytes_in_fields_and_bodies() {
    let wires = Wires::start().await;
    let value: Vec<u8> = (0x80..=0xff).collect();
    let latin: String = value.iter().copied().map(char::from).collect();
    let body: Vec<u8> = (0..=0xff).collect();
    let message = |line: &str| {
        let host = wires.relay.address;
        let start = format!("{line}\r\nHost: {host}\r\nContent-Length: 256\r\nX-Bytes: ");
        [start.as_bytes(), &value, b"\r\n\r\n", &body].concat()
    };
    let mut visitor = Wire::connect(wires.relay.address).await;
    visitor.send(message("POST / HTTP/1.1")).await;
    let mut local = wires.local().await;
    assert_eq!(fields(&local.head().await, "x-bytes"), [&latin]);
    assert_eq!(local.exactly(256).await, body);
    local.send(message("HTTP/1.1 200 OK")).await;
    assert_eq!(fields(&visitor.head().await, "x-bytes"), [&latin]);
    assert_eq!(visitor.exactly(256).await, body);
}

#[tokio::test]
async fn answers_a_thousand_calls_at_once_and_refuses_one_more() {
    const CALLS: usize = 1000;
    let wires = Wires::start().await;
    let address = wires.relay.address;
    let mut visitors = JoinSet::new();
    for number in 0..CALLS {
        visitors.spawn(async move { (number, get(address, &format!("/{number}")).await) });
    }
    let mut held = Vec::new();
    while held.len() < CALLS {
        let mut local = wires.local().await;
        let head = local.head().await;
        held.push((local, head));
    }
    let refused = get(address, "/one-more").await;
    assert_eq!(
        (refused.status(), refused.error()),
        (503, Some("too-many-calls"))
    );
    assert_eq!(refused.field("retry-after"), ["5"]);
    for (local, head) in &mut held {
        let target = head.split(' ').nth(1).unwrap();
        let length = target.len();
        local
            .send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}"
            ))
            .await;
    }
    while let Some(answered) = visitors.join_next().await {
        let (number, answer) = answered.unwrap();
        assert_eq!(answer.text(), format!("/{number}"));
    }
}

#[tokio::test]
async fn asks_again_on_all_connections_that_calls_at_a_time_had() {
    const CALLS: usize = 200;
    let wires = Wires::start().await;
    let mut held: Vec<Wire> = Vec::new();
    for round in 0..2 {
        let mut visitors = JoinSet::new();
        for _ in 0..CALLS {
            let address = wires.relay.address;
            visitors.spawn(async move { get(address, "/").await });
        }
        while held.len() < CALLS {
            held.push(wires.local().await);
        }
        for local in &mut held {
            local.head().await;
        }
        for local in &mut held {
            local.send(OK).await;
        }
        for answer in visitors.join_all().await {
            assert_eq!(answer.text(), "hi", "round {round}");
        }
    }
}

#[tokio::test]
async fn keeps_a_slow_call_from_slowing_others() {
    let wires = Wires::start().await;
    // A visitor who does not read, behind a local server that sends all it can.
    let (_stalled, mut flood, _) = wires.call("GET / HTTP/1.1\r\nHOST\r\n\r\n").await;
    let flooding = async {
        flood.send(CHUNKED).await;
        let piece = noise(1 << 20);
        loop {
            flood.send_chunk(&piece).await;
        }
    };
    let asking = async {
        for _ in 0..100 {
            let (mut visitor, mut local, _) = wires.call("GET / HTTP/1.1\r\nHOST\r\n\r\n").await;
            local.send(OK).await;
            visitor.head().await;
        }
    };
    tokio::select! {
        () = flooding => unreachable!(),
        () = asking => {}
    }
}
