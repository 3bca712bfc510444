//! ggrok's envelopes against what the Go programs put on the wire, and against each other.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use proptest::prelude::*;
use serde_json::Value;

use super::{decode_request, decode_response, encode_request, encode_response};
use crate::unary::envelope::any_fields;
use crate::unary::recorded::{self, entries};
use crate::{DecodeError, EncodeError};

const SERVER_SENDS: &str = include_str!("../../../tests/fixtures/ggrok-server-sends.json");
const CLIENT_ANSWERS: &str = include_str!("../../../tests/fixtures/ggrok-client-answers.json");

/// Requests, as far as both programs agree on them: ours adds no User-Agent, and frames every body
/// by its length.
fn essence(request: &Request<Bytes>) -> (String, String, HeaderMap, Bytes) {
    let mut headers = request.headers().clone();
    if headers.get("user-agent") == Some(&HeaderValue::from_static("Go-http-client/1.1")) {
        headers.remove("user-agent");
    }
    if request.body().is_empty() {
        headers.remove("content-length");
    } else {
        headers.insert("content-length", request.body().len().into());
    }
    let (method, uri) = (request.method().to_string(), request.uri().to_string());
    (method, uri, headers, request.body().clone())
}

#[test]
fn reads_and_writes_requests_as_the_go_relay_does() {
    let mut compared = 0;
    for (name, entry) in entries(SERVER_SENDS) {
        let Some(envelope) = entry["envelope"].as_str() else {
            continue;
        };
        if name == "post_binary" {
            continue;
        }
        let raw = entry["public_request_b64"].as_str().unwrap();
        let request = recorded::request(&BASE64_STANDARD.decode(raw).unwrap());
        let theirs = decode_request(envelope.as_bytes()).unwrap();
        let (head, body) = request.into_parts();
        let written = encode_request(head.clone(), &body).unwrap();
        let ours = decode_request(written.as_bytes()).unwrap();
        assert_eq!(essence(&ours), essence(&theirs), "{name}");

        let (ours, theirs): (Value, Value) = (
            serde_json::from_str(&written).unwrap(),
            serde_json::from_str(envelope).unwrap(),
        );
        if name != "absolute_form" {
            assert_eq!(ours["URL"], theirs["URL"], "{name}");
        }
        compared += 1;
    }
    assert_eq!(compared, 8);
}

#[test]
fn notices_a_body_that_the_go_relay_has_damaged() {
    let (_, entry) = entries(SERVER_SENDS)
        .into_iter()
        .find(|(name, _)| name == "post_binary")
        .unwrap();
    let error = decode_request(entry["envelope"].as_str().unwrap().as_bytes()).unwrap_err();
    assert!(
        matches!(error, DecodeError::BodyLength { actual: 12, .. }),
        "{error}"
    );
    assert!(!error.is_violation());
}

#[test]
fn reads_and_writes_responses_as_the_go_client_does() {
    let mut compared = 0;
    for (name, entry) in entries(CLIENT_ANSWERS) {
        if name == "redirect" {
            continue; // The Go client follows it; ours leaves that to the visitor.
        }
        let envelope = entry["envelope"].as_str().unwrap();
        let theirs = decode_response(envelope.as_bytes(), &Method::GET).unwrap();

        let raw = entry["origin_answered_b64"].as_str().unwrap();
        let raw = BASE64_STANDARD.decode(raw).unwrap();
        let (head, body) = recorded::response(&raw).into_parts();
        assert_eq!(theirs.body(), &body, "{name}");
        assert_eq!(theirs.status(), head.status, "{name}");

        let ours = encode_response(&head, &body).unwrap();
        let mut ours: Value = serde_json::from_str(&ours).unwrap();
        let mut theirs: Value = serde_json::from_str(envelope).unwrap();
        if name == "odd_status" {
            // A reason phrase of the local server's own is not kept.
            ours["Status"] = Value::Null;
            theirs["Status"] = Value::Null;
        }
        assert_eq!(ours, theirs, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 9);
}

fn request(
    target: &str,
    fields: &[(&'static str, &'static [u8])],
    body: &[u8],
) -> Result<String, EncodeError> {
    let mut request = Request::new(());
    *request.uri_mut() = target.parse().unwrap();
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().append(*name, value);
    }
    encode_request(request.into_parts().0, body)
}

#[test]
fn refuses_what_it_cannot_carry() {
    assert_eq!(request("/", &[], b"\xff"), Err(EncodeError::BodyNotText));
    let error = request("/", &[("x-a", b"caf\xe9")], b"").unwrap_err();
    assert!(matches!(error, EncodeError::FieldNotText(name) if name == "x-a"));
    for target in ["/%zz", "/a%", "/a%4", "/%4g"] {
        assert_eq!(
            request(target, &[], b""),
            Err(EncodeError::Escape),
            "{target}"
        );
    }
    // Go does not look at escapes in a query.
    assert!(request("/a%2F?%zz", &[], b"").is_ok());

    let response = Response::builder()
        .header("x-a", &b"\xe9"[..])
        .body(())
        .unwrap();
    let refused = encode_response(&response.into_parts().0, b"").unwrap_err();
    assert!(matches!(refused, EncodeError::FieldNotText(_)));
}

#[test]
fn writes_a_target_so_that_go_finds_its_path() {
    let envelope: Value = serde_json::from_str(&request("//x/../y?q", &[], b"").unwrap()).unwrap();
    assert_eq!(envelope["URL"], "http://localhost//x/../y?q");
    assert!(
        envelope["Req"]
            .as_str()
            .unwrap()
            .starts_with("GET //x/../y?q HTTP/1.1\r\n")
    );
}

fn decode(envelope: &str, method: &Method) -> Result<Response<Bytes>, DecodeError> {
    decode_response(envelope.as_bytes(), method)
}

#[test]
fn reads_what_go_may_write() {
    let bare = r#"{"Status":"","StatusCode":200,"Proto":"","Header":null,"Body":null,"ContentType":"a/b"}"#;
    let response = decode(bare, &Method::GET).unwrap();
    assert_eq!(response.headers()["content-type"], "a/b");
    assert!(response.body().is_empty());

    let head = r#"{"StatusCode":200,"Header":{"Content-Length":["5"],"Connection":["X-A"],"X-A":["1"],"X-B":null}}"#;
    let response = decode(head, &Method::HEAD).unwrap();
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(response.headers().len(), 1);
}

#[test]
fn tells_a_broken_answer_from_a_broken_peer() {
    for (envelope, violation) in [
        ("", true),
        ("[]", true),
        ("hello", true),
        (r#"{"Status":"200 OK"}"#, true),
        (r#"{"StatusCode":"200"}"#, true),
        (r#"{"StatusCode":200,"Body":"*"}"#, true),
        (r#"{"StatusCode":99}"#, false),
        (r#"{"StatusCode":101}"#, false),
        (r#"{"StatusCode":1000}"#, false),
        (r#"{"StatusCode":200,"Header":{"a b":["c"]}}"#, false),
        (
            r#"{"StatusCode":200,"Header":{"x":["a\r\nset-cookie: b"]}}"#,
            false,
        ),
        (
            r#"{"StatusCode":200,"Header":{"Content-Length":["5"]},"Body":"aGk="}"#,
            false,
        ),
        (
            r#"{"StatusCode":200,"Header":{"Content-Length":["x"]},"Body":"aGk="}"#,
            false,
        ),
    ] {
        let error = decode(envelope, &Method::GET).unwrap_err();
        assert_eq!(error.is_violation(), violation, "{envelope}: {error}");
    }
}

#[test]
fn takes_no_more_fields_than_it_must() {
    let many = "\"\",".repeat(2000);
    let values = format!(r#"{{"StatusCode":200,"Header":{{"a":[{many}""]}}}}"#);
    assert!(decode(&values, &Method::GET).unwrap_err().is_violation());
    let many: String = (0..2000)
        .map(|number| format!(r#""x-{number}":[""],"#))
        .collect();
    let names = format!(r#"{{"StatusCode":200,"Header":{{{many}"a":[]}}}}"#);
    assert!(decode(&names, &Method::GET).unwrap_err().is_violation());
}

#[test]
fn gives_no_body_where_http_has_none() {
    for (status, method) in [(204, Method::GET), (304, Method::GET), (200, Method::HEAD)] {
        let envelope = format!(r#"{{"StatusCode":{status},"Body":"aGk="}}"#);
        assert!(decode(&envelope, &method).unwrap().body().is_empty());
    }
}

proptest! {
    #[test]
    fn carries_any_text_request_whole(
        method in "[A-Za-z-]{1,10}",
        target in "/[!-~&&[^#<>\"`%]]{0,40}",
        mut headers in any_fields(),
        body in ".{0,200}",
    ) {
        let Ok(uri) = target.parse() else { return Ok(()) };
        headers.insert("host", HeaderValue::from_static("a.example"));
        if !body.is_empty() {
            headers.insert("content-length", body.len().into());
        }
        let mut request = Request::new(());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers.clone();
        let (head, ()) = request.into_parts();
        let envelope = encode_request(head, body.as_bytes()).unwrap();
        let read = decode_request(envelope.as_bytes()).unwrap();
        prop_assert_eq!(read.method().as_str(), method);
        prop_assert_eq!(read.uri().to_string(), target);
        prop_assert_eq!(read.headers(), &headers);
        prop_assert_eq!(read.body(), body.as_bytes());
    }

    #[test]
    fn carries_any_response_whole(
        status in 200u16..600,
        headers in any_fields(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assume!(status != 204 && status != 304);
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers.clone();
        let (head, ()) = response.into_parts();
        let envelope = encode_response(&head, &body).unwrap();
        let read = decode_response(envelope.as_bytes(), &Method::GET).unwrap();
        prop_assert_eq!(read.status().as_u16(), status);
        prop_assert_eq!(read.headers(), &headers);
        prop_assert_eq!(read.body(), &body);
    }

    #[test]
    fn survives_any_message(bytes in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,300}") {
        decode_request(&bytes).ok();
        decode_response(&bytes, &Method::GET).ok();
        let wrapped = serde_json::json!({ "Req": text, "URL": text }).to_string();
        decode_request(wrapped.as_bytes()).ok();
    }
}
