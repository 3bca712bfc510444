//! What cases have in common: a visitor says something, and the local server answers.

use crate::support::{Answer, Stage, Wire};

pub const GET: &str = "GET / HTTP/1.1\r\nHOST\r\n\r\n";
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
pub const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Has each of these refused with a status, and nothing of it arrives at the local server.
pub async fn refused<S: AsRef<[u8]>>(
    stage: &Stage,
    status: u16,
    said: impl IntoIterator<Item = S>,
) {
    for said in said {
        let said = said.as_ref();
        let visitor = stage.visitor(said).await;
        let answer = visitor.rest().await;
        let told = String::from_utf8_lossy(&answer);
        let said = said[..said.len().min(200)].escape_ascii();
        assert!(has_status(&told, status), "{said}: {told}");
        assert_eq!(told.matches("HTTP/1.").count(), 1, "{said}: {told}");
    }
    nothing_arrived(stage).await;
}

/// Nothing is at the local server: a request that comes now is the next.
pub async fn nothing_arrived(stage: &Stage) {
    let (mut visitor, mut local, head) = stage.call("GET /next HTTP/1.1\r\nHOST\r\n\r\n").await;
    assert!(head.starts_with("GET /next "), "{head}");
    local.send(OK).await;
    assert!(visitor.head().await.starts_with("HTTP/1.1 200 "));
}

/// Says this, which has no body, sees it answered, and returns the head that arrived.
pub async fn arrives(stage: &Stage, said: impl AsRef<[u8]>) -> String {
    let (mut visitor, mut local, head) = stage.call(said).await;
    local.send(OK).await;
    let answer = visitor.head().await;
    assert!(has_status(&answer, 200), "{answer}");
    head
}

/// Whether an answer has this status. To HTTP/1.0 the HTTP library answers in kind.
fn has_status(answer: &str, status: u16) -> bool {
    let versions = ["HTTP/1.1", "HTTP/1.0"];
    versions
        .iter()
        .any(|version| answer.starts_with(&format!("{version} {status} ")))
}

/// What a visitor gets where the local server answers a GET with these bytes and closes.
pub async fn answer(stage: &Stage, bytes: impl AsRef<[u8]>) -> Answer {
    let get = "GET / HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n";
    answer_to(stage, get, bytes).await
}

/// What a visitor gets who says this, where the local server answers with these bytes and closes.
pub async fn answer_to(stage: &Stage, said: &str, bytes: impl AsRef<[u8]>) -> Answer {
    let (visitor, mut local, _) = stage.call(said).await;
    local.send(bytes).await;
    drop(local);
    rest(visitor).await
}

/// All that a visitor gets until the relay closes, as one answer.
pub async fn rest(visitor: Wire) -> Answer {
    let bytes = visitor.rest().await;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&bytes))) + 4;
    Answer {
        head: bytes[..end].iter().map(|byte| char::from(*byte)).collect(),
        body: bytes[end..].to_vec(),
    }
}

/// The status and the error code of an answer of ggrok's own.
pub fn error(answer: &Answer) -> (u16, &str) {
    (answer.status(), answer.error().unwrap_or_default())
}
