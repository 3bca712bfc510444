//! What is measured, with a request and a response as a browser and an app send them.

use bytes::Bytes;
use ggrok_protocol::bench::{Operation, codecs};
use ggrok_server::bench::routing;
use http::{Request, Response};

#[path = "sessions.rs"]
mod sessions;

/// All operations, by what they belong to.
pub(crate) fn groups() -> [(&'static str, Vec<Operation>); 3] {
    let (request, response) = (request(), response());
    [
        ("codec", codecs(&request, &response)),
        ("session", sessions::operations(&request, &response)),
        ("relay", routing(request.headers())),
    ]
}

/// A small form's POST.
fn request() -> Request<Bytes> {
    let request = Request::post("/api/items?page=2&sort=name")
        .header("host", "app-1.tunnel.example.com")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        )
        .header(
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        )
        .header("accept-language", "en-GB,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("content-type", "application/json")
        .header("content-length", BODY)
        .header("origin", "https://app-1.tunnel.example.com")
        .header("referer", "https://app-1.tunnel.example.com/items")
        .header(
            "cookie",
            "session=0123456789abcdef0123456789abcdef; theme=dark",
        )
        .header("sec-fetch-dest", "empty")
        .header("sec-fetch-mode", "cors")
        .header("sec-fetch-site", "same-origin");
    request.body(body()).expect("it is valid")
}

fn response() -> Response<Bytes> {
    let response = Response::builder()
        .header("content-type", "application/json; charset=utf-8")
        .header("content-length", BODY)
        .header("cache-control", "no-store")
        .header("etag", "\"0123456789abcdef\"")
        .header("date", "Sun, 22 Nov 2026 09:00:00 GMT")
        .header(
            "set-cookie",
            "session=0123456789abcdef0123456789abcdef; Path=/; HttpOnly",
        )
        .header("vary", "accept-encoding")
        .header("x-content-type-options", "nosniff");
    response.body(body()).expect("it is valid")
}

fn body() -> Bytes {
    Bytes::from("0123456789abcdef".repeat(BODY / 16))
}

/// Bytes of a small body, in 16s.
const BODY: usize = 1 << 10;
