//! What the Go programs put on the wire, taken apart for the tests of their dialects.

use std::str;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, Uri, Version};
use serde_json::{Map, Value};

/// The entries of a file of recordings, by name.
pub(super) fn entries(file: &str) -> Vec<(String, Value)> {
    let entries: Map<String, Value> = serde_json::from_str(file).unwrap();
    let entries = entries.into_iter();
    entries.filter(|(name, _)| !name.starts_with('_')).collect()
}

/// A request, read without the code that is tested. Its target is in origin form.
pub(super) fn request(raw: &[u8]) -> Request<Bytes> {
    let (head, rest) = split(raw);
    let mut words = head.split(' ');
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = words.next().unwrap().parse().unwrap();
    let target: Uri = words.next().unwrap().parse().unwrap();
    *request.uri_mut() = target.path_and_query().unwrap().clone().into();
    *request.headers_mut() = fields(head);
    *request.body_mut() = body(request.headers(), rest);
    request
}

/// A response, read likewise.
pub(super) fn response(raw: &[u8]) -> Response<Bytes> {
    let (head, rest) = split(raw);
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = head.split(' ').nth(1).unwrap().parse().unwrap();
    if head.starts_with("HTTP/1.0") {
        *response.version_mut() = Version::HTTP_10;
    }
    *response.headers_mut() = fields(head);
    *response.body_mut() = body(response.headers(), rest);
    response
}

fn split(raw: &[u8]) -> (&str, &[u8]) {
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    (str::from_utf8(&raw[..end]).unwrap(), &raw[end..])
}

fn fields(head: &str) -> HeaderMap {
    let lines = head.lines().skip(1).take_while(|line| !line.is_empty());
    let fields = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
    });
    fields.collect()
}

/// The body of a message, out of its chunks where it came in chunks.
fn body(head: &HeaderMap, raw: &[u8]) -> Bytes {
    if !head.contains_key("transfer-encoding") {
        return Bytes::copy_from_slice(raw);
    }
    let lines: Vec<_> = str::from_utf8(raw).unwrap().split("\r\n").collect();
    let chunks = lines.chunks_exact(2).map(|pair| pair[1]);
    chunks.collect::<String>().into()
}
