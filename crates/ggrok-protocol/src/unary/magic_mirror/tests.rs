//! magic-mirror's envelopes against what the Go program put on the wire, and against each other.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{decode_request, decode_response, encode_request, encode_response};
use crate::unary::envelope::any_fields;
use crate::unary::recorded::{self, entries};
use crate::{DecodeError, EncodeError};

const CLIENT_ANSWERS: &str =
    include_str!("../../../tests/fixtures/magic-mirror-client-answers.json");

/// The JSON in a message.
fn opened(message: &str) -> Value {
    serde_json::from_slice(&BASE64_STANDARD.decode(message).unwrap()).unwrap()
}

/// What the local server saw of a recorded call at first, without what Go adds to every request.
fn seen(entry: &Value) -> Request<Bytes> {
    let latin = entry["origin_saw"][0].as_str().unwrap();
    let raw: Vec<u8> = latin.chars().map(|c| u8::try_from(c).unwrap()).collect();
    let mut request = recorded::request(&raw);
    for (name, value) in [
        ("host", None),
        ("user-agent", Some("Go-http-client/1.1")),
        ("accept-encoding", Some("gzip")),
    ] {
        let added = request.headers_mut().remove(name).unwrap();
        assert!(value.is_none_or(|value| added == value), "{name}");
    }
    request
}

#[test]
fn reads_a_request_as_the_go_client_replays_it() {
    let mut compared = 0;
    for (name, entry) in entries(CLIENT_ANSWERS) {
        let sent = entry["sent"].as_str().unwrap();
        let (ours, ours_body) = decode_request(sent.as_bytes()).unwrap().into_parts();
        let (theirs, theirs_body) = seen(&entry).into_parts();
        assert_eq!(ours.method, theirs.method, "{name}");
        assert_eq!(ours.uri, theirs.uri, "{name}");
        assert_eq!(ours.headers, theirs.headers, "{name}");
        assert_eq!(ours_body, theirs_body, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 10);
}

#[test]
fn writes_a_request_as_the_go_client_is_sent_it() {
    for (name, entry) in entries(CLIENT_ANSWERS) {
        let (head, body) = seen(&entry).into_parts();
        let ours = opened(&encode_request(head.clone(), &body).unwrap());
        let mut theirs = opened(entry["sent"].as_str().unwrap());
        // The client replaces any host, and ignores the length.
        theirs["uri"] = json!(format!("http://localhost{}", head.uri));
        theirs["headers"]["Content-Length"] = json!([body.len().to_string()]);
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn reads_and_writes_responses_as_the_go_client_does() {
    let mut compared = 0;
    for (name, entry) in entries(CLIENT_ANSWERS) {
        if name == "redirect" {
            continue; // The Go client follows it; ours leaves that to the visitor.
        }
        let envelope = entry["envelope"].as_str().unwrap();
        let raw = entry["origin_answered_b64"].as_str().unwrap();
        let raw = BASE64_STANDARD.decode(raw).unwrap();
        let (mut head, body) = recorded::response(&raw).into_parts();
        assert_eq!(encode_response(&head, &body).unwrap(), envelope, "{name}");

        let theirs = decode_response(envelope.as_bytes(), &Method::POST).unwrap();
        // The reader has used what frames the body, and leaves framing to whoever writes next.
        head.headers.remove("content-length");
        head.headers.remove("transfer-encoding");
        assert_eq!(theirs.status(), head.status, "{name}");
        assert_eq!(theirs.headers(), &head.headers, "{name}");
        assert_eq!(theirs.body(), &body, "{name}");
        compared += 1;
    }
    assert_eq!(compared, 9);
}

#[test]
fn reads_the_answer_behind_a_redirect() {
    let mut entries = entries(CLIENT_ANSWERS).into_iter();
    let (_, entry) = entries.find(|(name, _)| name == "redirect").unwrap();
    let envelope = entry["envelope"].as_str().unwrap();
    let response = decode_response(envelope.as_bytes(), &Method::POST).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.body(), "hi");
}

fn request(envelope: &str) -> Result<Request<Bytes>, DecodeError> {
    decode_request(BASE64_STANDARD.encode(envelope).as_bytes())
}

fn response(envelope: &str, method: &Method) -> Result<Response<Bytes>, DecodeError> {
    decode_response(BASE64_STANDARD.encode(envelope).as_bytes(), method)
}

#[test]
fn reads_requests_that_go_reads() {
    let bare = request(r#"{"uri":"http://a","body":null,"headers":null}"#).unwrap();
    assert_eq!(
        (bare.method(), bare.uri()),
        (&Method::GET, &Uri::from_static("/"))
    );
    assert!(bare.headers().is_empty() && bare.body().is_empty());

    let odd = r#"{"method":"","uri":"//a/%2F?b\u0026c=\u003c","body":"aG\nk=","headers":{"x-a":["\u0026"],"X-A":["2"],"X-B":null},"more":1}"#;
    let odd = request(odd).unwrap();
    assert_eq!(
        (odd.method(), odd.uri()),
        (&Method::GET, &Uri::from_static("//a/%2F?b&c=%3C"))
    );
    assert_eq!(odd.body(), "hi");
    let values: Vec<_> = odd.headers().get_all("x-a").iter().collect();
    assert_eq!(values, ["&", "2"]);
    assert_eq!(odd.headers()["content-length"], "2");
}

#[test]
fn skips_line_breaks_in_a_message() {
    let message = "eyJzdGF0dXNf\r\nY29kZSI6MjAwfQ==\n";
    let response = decode_response(message.as_bytes(), &Method::GET).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.body().is_empty());
}

#[test]
fn takes_the_length_of_a_request_from_its_body() {
    for (fields, body, length) in [
        (r#"{"Content-Length":["57"]}"#, "aGk=", Some("2")),
        (r#"{"Content-Length":["57","x"]}"#, "", Some("0")),
        (r#"{"Transfer-Encoding":["chunked"]}"#, "aGk=", Some("2")),
        ("{}", "aGk=", Some("2")),
        ("{}", "", None),
    ] {
        let envelope = format!(r#"{{"uri":"/","body":"{body}","headers":{fields}}}"#);
        let headers = request(&envelope).unwrap().headers().clone();
        let lengths: Vec<_> = headers.get_all("content-length").iter().collect();
        assert_eq!(lengths, Vec::from_iter(length), "{envelope}");
        assert_eq!(headers.len(), lengths.len(), "{envelope}");
    }
}

#[test]
fn keeps_what_concerns_one_hop_to_itself() {
    let headers = json!({
        "Connection": ["X-Hop"],
        "X-Hop": ["1"],
        "Upgrade": ["h2c"],
        "Te": ["trailers"],
        "Trailer": ["x-sum"],
        "Expect": ["100-continue"],
        "X-Stays": ["1"],
    });
    let read = request(&json!({ "uri": "/", "headers": headers }).to_string()).unwrap();
    assert_eq!(Vec::from_iter(read.headers().keys()), ["x-stays"]);
    let answer = json!({ "status_code": 200, "headers": headers }).to_string();
    let read = response(&answer, &Method::GET).unwrap();
    assert_eq!(Vec::from_iter(read.headers().keys()), ["x-stays"]);

    let (mut head, ()) = Request::new(()).into_parts();
    for (name, values) in headers.as_object().unwrap() {
        let value = values[0].as_str().unwrap().parse().unwrap();
        head.headers
            .insert(name.parse::<HeaderName>().unwrap(), value);
    }
    let written = opened(&encode_request(head.clone(), b"").unwrap());
    assert_eq!(written["headers"], json!({ "X-Stays": ["1"] }));
}

#[test]
fn refuses_what_it_cannot_carry() {
    let encode = |target: &str, value: &[u8]| {
        let mut request = Request::new(());
        *request.uri_mut() = target.parse().unwrap();
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().insert("x-a", value);
        encode_request(request.into_parts().0, b"\xff")
    };
    for target in ["/%zz", "/a%", "/a%4", "/%4g"] {
        assert_eq!(encode(target, b""), Err(EncodeError::Escape), "{target}");
    }
    assert_eq!(encode("*", b""), Err(EncodeError::Asterisk));
    let error = encode("/", b"caf\xe9").unwrap_err();
    assert!(matches!(error, EncodeError::FieldNotText(name) if name == "x-a"));
    // Go does not look at escapes in a query.
    assert!(encode("/a%2F?%zz", "café".as_bytes()).is_ok());

    let (mut head, ()) = Response::new(()).into_parts();
    let value = HeaderValue::from_bytes(b"\xe9").unwrap();
    head.headers.insert("x-a", value);
    let refused = encode_response(&head, b"").unwrap_err();
    assert!(matches!(refused, EncodeError::FieldNotText(_)));
}

#[test]
fn writes_a_target_so_that_go_finds_its_path() {
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_static("//x/../y?q");
    let envelope = encode_request(request.into_parts().0, b"").unwrap();
    assert_eq!(opened(&envelope)["uri"], "http://localhost//x/../y?q");
}

/// How an error begins in its `Debug` form: the name of its variant.
fn is(error: &DecodeError, variant: &str) -> bool {
    format!("{error:?}").starts_with(variant)
}

#[test]
fn tells_a_broken_answer_from_a_broken_peer() {
    for (envelope, variant, violation) in [
        ("", "Envelope", true),
        ("[]", "Envelope", true),
        ("hello", "Envelope", true),
        (r#"{"body":""}"#, "Envelope", true),
        (r#"{"status_code":"200"}"#, "Envelope", true),
        (r#"{"status_code":-1}"#, "Envelope", true),
        (r#"{"status_code":200,"body":[104]}"#, "Envelope", true),
        (r#"{"status_code":200,"headers":[]}"#, "Envelope", true),
        (
            r#"{"status_code":200,"headers":{"a":"b"}}"#,
            "Envelope",
            true,
        ),
        (
            r#"{"status_code":200,"headers":{"a":[1]}}"#,
            "Envelope",
            true,
        ),
        (r#"{"status_code":200,"body":"*"}"#, "Base64", true),
        (r#"{"status_code":200,"body":"aGk"}"#, "Base64", true),
        (r#"{"status_code":200,"body":"_-A="}"#, "Base64", true),
        (r#"{"status_code":200,"body":null}"#, "BrokenOff", false),
        (r#"{"status_code":0}"#, "Status", false),
        (r#"{"status_code":99}"#, "Status", false),
        (r#"{"status_code":101}"#, "Status", false),
        (r#"{"status_code":1000}"#, "Status", false),
        (
            r#"{"status_code":200,"headers":{"a b":["c"]}}"#,
            "Invalid",
            false,
        ),
        (
            r#"{"status_code":200,"headers":{"":["c"]}}"#,
            "Invalid",
            false,
        ),
        (
            r#"{"status_code":200,"headers":{"x":["a\r\ny: b"]}}"#,
            "Invalid",
            false,
        ),
        (
            r#"{"status_code":200,"headers":{"Content-Length":["5"]},"body":"aGk="}"#,
            "BodyLength",
            false,
        ),
        (
            r#"{"status_code":200,"headers":{"Content-Length":["x"]},"body":"aGk="}"#,
            "BodyLength",
            false,
        ),
        (
            r#"{"status_code":200,"headers":{"Content-Length":["5"]}}"#,
            "BodyLength",
            false,
        ),
    ] {
        let error = response(envelope, &Method::GET).unwrap_err();
        assert!(is(&error, variant), "{envelope}: {error:?}");
        assert_eq!(error.is_violation(), violation, "{envelope}: {error}");
    }
    for message in [
        r#"{"status_code":200}"#,
        "eyJ",
        "eyJzdGF0dXNfY29kZSI6MjAwfQ",
    ] {
        let error = decode_response(message.as_bytes(), &Method::GET).unwrap_err();
        assert!(
            is(&error, "Base64") && error.is_violation(),
            "{message}: {error:?}"
        );
    }
}

#[test]
fn tells_a_broken_request_from_a_broken_relay() {
    for (envelope, variant, violation) in [
        ("{}", "Envelope", true),
        (r#"{"uri":null}"#, "Envelope", true),
        (r#"{"uri":"/","method":1}"#, "Envelope", true),
        (r#"{"uri":"/","body":"*"}"#, "Base64", true),
        (r#"{"uri":"/","method":"G T"}"#, "Invalid", false),
        (r#"{"uri":"/","headers":{"a":["\n"]}}"#, "Invalid", false),
        (r#"{"uri":"http://a/b c"}"#, "Invalid", false),
        (r#"{"uri":""}"#, "Invalid", false),
        (r#"{"uri":"evil.example:80"}"#, "Target", false),
    ] {
        let error = request(envelope).unwrap_err();
        assert!(is(&error, variant), "{envelope}: {error:?}");
        assert_eq!(error.is_violation(), violation, "{envelope}: {error}");
    }
    let error = decode_request(br#"{"uri":"/"}"#).unwrap_err();
    assert!(is(&error, "Base64") && error.is_violation(), "{error:?}");
}

#[test]
fn takes_no_more_fields_than_it_must() {
    let names: String = (0..2000)
        .map(|number| format!(r#""x-{number}":[""],"#))
        .collect();
    let values = "\"\",".repeat(2000);
    for fields in [
        format!(r#"{{{names}"a":[]}}"#),
        format!(r#"{{"a":[{values}""]}}"#),
    ] {
        let answer = format!(r#"{{"status_code":200,"headers":{fields}}}"#);
        let error = response(&answer, &Method::GET).unwrap_err();
        assert!(error.is_violation(), "{error}");
        let error = request(&format!(r#"{{"uri":"/","headers":{fields}}}"#)).unwrap_err();
        assert!(error.is_violation(), "{error}");
    }
}

#[test]
fn gives_no_body_where_http_has_none() {
    for (status, method, length) in [
        (204, Method::GET, None),
        (304, Method::GET, Some("5")),
        (200, Method::HEAD, Some("5")),
    ] {
        for body in ["", "aGk="] {
            let envelope = format!(
                r#"{{"status_code":{status},"headers":{{"Content-Length":["5"]}},"body":"{body}"}}"#
            );
            let read = response(&envelope, &method).unwrap();
            assert!(read.body().is_empty());
            let announced = read.headers().get("content-length");
            assert_eq!(
                announced.map(HeaderValue::as_bytes),
                length.map(str::as_bytes)
            );
        }
    }
}

/// Any target that a visitor may send and Go's URL parser takes.
fn any_target() -> impl Strategy<Value = String> {
    let path = "(/|[!-~&&[^#<>\"`%?]]|é|%[0-9A-Fa-f]{2}){0,40}";
    let query = "(\\?([!-~&&[^#<>\"`]]|é){0,20})?";
    (path, query).prop_map(|(path, query)| format!("/{path}{query}"))
}

proptest! {
    #[test]
    fn carries_any_request_whole(
        method in "[A-Za-z-]{1,10}",
        target in any_target(),
        mut headers in any_fields(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        headers.insert("host", HeaderValue::from_static("a.example"));
        if !body.is_empty() {
            headers.insert("content-length", body.len().into());
        }
        let mut request = Request::new(());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = http::uri::PathAndQuery::try_from(&target).unwrap().into();
        *request.headers_mut() = headers.clone();
        let envelope = encode_request(request.into_parts().0, &body).unwrap();
        let read = decode_request(envelope.as_bytes()).unwrap();
        prop_assert_eq!(read.method().as_str(), method);
        prop_assert_eq!(read.uri().to_string(), target);
        prop_assert_eq!(read.headers(), &headers);
        prop_assert_eq!(read.body(), &body);
    }

    #[test]
    fn carries_any_response_whole(
        status in 200u16..1000,
        headers in any_fields(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assume!(status != 204 && status != 304);
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers.clone();
        let envelope = encode_response(&response.into_parts().0, &body).unwrap();
        let read = decode_response(envelope.as_bytes(), &Method::GET).unwrap();
        prop_assert_eq!(read.status().as_u16(), status);
        prop_assert_eq!(read.headers(), &headers);
        prop_assert_eq!(read.body(), &body);
    }

    #[test]
    fn survives_any_message(bytes in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,300}") {
        for message in [bytes.clone(), BASE64_STANDARD.encode(&bytes).into()] {
            decode_request(&message).ok();
            decode_response(&message, &Method::GET).ok();
        }
        let headers = json!({ &text: [&text] });
        let both = json!({ "method": text, "uri": text, "body": "", "headers": headers, "status_code": 200 });
        request(&both.to_string()).ok();
        response(&both.to_string(), &Method::GET).ok();
    }
}
