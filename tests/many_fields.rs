//! Messages with more fields than most have, and than the HTTP library takes at first.

use crate::support::{Wire, Wires, fields};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const MANY: usize = 200;

fn many() -> String {
    "X: y\r\n".repeat(MANY)
}

fn get(wires: &Wires, path: &str, fields: &str) -> String {
    let host = wires.relay.address;
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

/// Plays the answer to a request that has arrived, and hears it at the visitor.
async fn answered(visitor: &mut Wire, local: &mut Wire) {
    local.send(OK).await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(visitor.exactly(2).await, b"ok");
}

#[tokio::test]
async fn a_visitor_sends_them_at_any_time() {
    let wires = Wires::start().await;
    let few = get(&wires, "/few", "");
    let large = get(&wires, "/many", &many());
    let (mut visitor, mut local, _) = wires.call("GET / HTTP/1.1\r\nHOST\r\n\r\n").await;
    answered(&mut visitor, &mut local).await;
    // Alone, in two parts, and right behind another request.
    let (start, end) = large.split_at(large.len() / 2);
    for parts in [&[&large[..]][..], &[start, end], &[&few, &large, &few]] {
        for part in parts {
            visitor.send(part).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        for said in parts.concat().split_inclusive("\r\n\r\n") {
            let head = local.head().await;
            assert_eq!(head.lines().next(), said.lines().next());
            assert_eq!(fields(&head, "x").len(), fields(said, "x").len());
            answered(&mut visitor, &mut local).await;
        }
    }
}

/// hyper refuses in the version of the request before.
#[tokio::test]
async fn a_visitor_sends_them_in_http_1_0_too() {
    let wires = Wires::start().await;
    let keep = "Connection: keep-alive\r\n";
    let old = |fields: &str| get(&wires, "/", &format!("{keep}{fields}")).replace("/1.1", "/1.0");
    let (mut visitor, mut local) = (wires.visitor(old("")).await, wires.local().await);
    for count in [0, MANY] {
        let head = local.head().await;
        assert_eq!(fields(&head, "x").len(), count);
        local.send(OK).await;
        let answer = visitor.head().await;
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
        assert_eq!(visitor.exactly(2).await, b"ok");
        visitor.send(old(&many())).await;
    }
}

#[tokio::test]
async fn a_local_server_sends_them_in_any_response() {
    let wires = Wires::start().await;
    let many = many();
    let responses = [
        (
            "GET",
            format!("200 OK\r\nContent-Length: 5\r\n{many}\r\n"),
            "hello",
        ),
        (
            "HEAD",
            format!("200 OK\r\nContent-Length: 5\r\n{many}\r\n"),
            "",
        ),
        ("GET", format!("304 Not Modified\r\n{many}\r\n"), ""),
        ("DELETE", format!("204 No Content\r\n{many}\r\n"), ""),
        (
            "POST",
            format!("200 OK\r\n{many}Transfer-Encoding: chunked\r\n\r\n"),
            "5\r\nhello\r\n0\r\n\r\n",
        ),
    ];
    for (method, head, body) in responses {
        let request = format!("{method} / HTTP/1.1\r\nHOST\r\n\r\n");
        let (mut visitor, mut local, _) = wires.call(&request).await;
        let response = format!("HTTP/1.1 {head}{body}");
        // It arrives in parts, and the connections live on.
        let (start, end) = response.split_at(response.len() - 30);
        local.send(start).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        local.send(end).await;
        let answer = visitor.head().await;
        assert_eq!(fields(&answer, "x").len(), MANY, "{method}");
        assert_eq!(
            visitor.exactly(body.len()).await,
            body.as_bytes(),
            "{method}"
        );
        visitor.send(get(&wires, "/next", "")).await;
        let next = local.head().await;
        assert!(next.starts_with("GET /next "), "behind {method}: {next}");
        answered(&mut visitor, &mut local).await;
    }
}

/// The local server answers before it has read the request. What it may still wait for is not to be
/// another request.
#[tokio::test]
async fn a_local_server_sends_them_before_it_has_heard_all() {
    let wires = Wires::start().await;
    let post = "POST / HTTP/1.1\r\nHOST\r\nContent-Length: 10\r\n\r\nhalf";
    let (mut visitor, mut local, _) = wires.call(post).await;
    assert_eq!(local.exactly(4).await, b"half");
    let response = format!(
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n{}\r\nno",
        many()
    );
    local.send(response).await;
    let answer = visitor.head().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(fields(&answer, "x").len(), MANY);
    assert_eq!(visitor.exactly(2).await, b"no");
    assert_eq!(local.rest().await, b"");
}
