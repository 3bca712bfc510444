//! magic-mirror's envelopes against what the Go program put on the wire.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use serde_json::Value;

use super::{decode_request, decode_response, encode_response};

const CLIENT_ANSWERS: &str =
    include_str!("../../../tests/fixtures/magic-mirror-client-answers.json");

fn recorded() -> Vec<(String, Value)> {
    let entries: serde_json::Map<String, Value> = serde_json::from_str(CLIENT_ANSWERS).unwrap();
    let entries = entries.into_iter();
    entries.filter(|(name, _)| !name.starts_with('_')).collect()
}

#[test]
fn reads_what_the_original_client_was_sent() {
    for (name, entry) in recorded() {
        let request = decode_request(entry["sent"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri().to_string(), format!("/{name}?q=1"));
        assert_eq!(request.body().as_ref(), b"\0body\xff");
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
    }
}

#[test]
fn writes_answers_as_the_original_client_does() {
    for (name, entry) in recorded() {
        let envelope = entry["envelope"].as_str().unwrap();
        let response = decode_response(envelope.as_bytes(), &Method::POST).unwrap();
        let (mut head, body) = response.into_parts();
        let sent: Value =
            serde_json::from_slice(&BASE64_STANDARD.decode(envelope).unwrap()).unwrap();
        // The reader has held it against the body and left framing to whoever writes.
        if let Some(length) = sent["headers"].get("Content-Length") {
            let length = length[0].as_str().unwrap().parse().unwrap();
            head.headers.insert("content-length", length);
        }
        assert_eq!(encode_response(&head, &body).unwrap(), envelope, "{name}");
    }
}
