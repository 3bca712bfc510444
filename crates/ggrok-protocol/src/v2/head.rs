//! Heads: the JSON envelopes of requests, responses and trailers.
//!
//! A field is a pair of strings. Each character of a value stands for one byte, U+0000 to U+00FF, so
//! that a value of any bytes is carried without loss and plain ASCII reads as it is.

mod json;
mod known;
mod plain;

use std::borrow::Cow;

use bytes::{BufMut, Bytes};
use http::header::{HeaderMap, HeaderValue, InvalidHeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, request, response};
use serde::de::IgnoredAny;

pub(crate) use self::known::Known;
use crate::DecodeError;
use crate::json::put_text;
use crate::trailers::remove_forbidden;

/// What a request says beside its method, target and fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks {
    /// The protocol that the request asks to be upgraded to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// The visitor waits for a 100 before it sends the body (RFC 9110, section 10.1.1).
    pub(crate) expect: bool,
}

/// Writes a request's head.
pub(crate) fn encode_request(head: &request::Parts, asks: &Asks) -> Bytes {
    let mut out = Vec::with_capacity(LIKELY);
    out.put_slice(b"{\"method\":");
    json::put_string(&mut out, head.method.as_str().as_bytes());
    out.put_slice(b",\"target\":\"");
    let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    put_text(&mut out, target);
    out.put_slice(b"\",\"fields\":");
    json::put_fields(&mut out, &head.headers);
    put_upgrade(&mut out, asks.upgrade.as_ref());
    if asks.expect {
        out.put_slice(b",\"expect\":true");
    }
    out.put_u8(b'}');
    out.into()
}

/// Reads a request's head. Its target has no scheme and no authority, whatever was sent.
///
/// Its fields are slices of the message, or of one that is known: see [`own`].
pub(crate) fn decode_request(
    message: &Bytes,
    known: &mut Known,
) -> Result<(Request<()>, Asks), DecodeError> {
    let (mut method, mut target, mut fields) = (None, None, None);
    let (mut upgrade, mut expect) = (None, None);
    json::members(text(message)?, |name, json| match name {
        "method" => once(&mut method, json.string()?),
        "target" => once(&mut target, json.string()?),
        "fields" => once(&mut fields, json.fields_by(message, known)?),
        "upgrade" => once(&mut upgrade, json.value()?),
        "expect" => once(&mut expect, json.value()?),
        _ => json.value().map(|IgnoredAny| ()),
    })?;
    let (Some(method), Some(target), Some(fields)) = (method, target, fields) else {
        return Err(DecodeError::Head);
    };
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(invalid)?;
    *request.uri_mut() = uri(message, target)?;
    *request.headers_mut() = fields;
    let asks = Asks {
        upgrade: protocol(upgrade)?,
        expect: expect.unwrap_or(false),
    };
    Ok((request, asks))
}

fn uri(message: &Bytes, target: Cow<'_, str>) -> Result<Uri, DecodeError> {
    if !(target.starts_with('/') || target == "*") {
        return Err(DecodeError::Target);
    }
    let target = match target {
        Cow::Borrowed(target) => message.slice_ref(target.as_bytes()),
        Cow::Owned(target) => target.into(),
    };
    let target = PathAndQuery::from_maybe_shared(target).map_err(invalid)?;
    Ok(Uri::from(target))
}

/// Writes a response's head, with the protocol that it switches to.
pub(crate) fn encode_response(head: &response::Parts, upgrade: Option<&HeaderValue>) -> Bytes {
    let mut out = Vec::with_capacity(LIKELY);
    out.put_slice(b"{\"status\":");
    out.put_slice(head.status.as_str().as_bytes());
    out.put_slice(b",\"fields\":");
    json::put_fields(&mut out, &head.headers);
    put_upgrade(&mut out, upgrade);
    out.put_u8(b'}');
    out.into()
}

/// Reads a response's head, and the protocol that it switches to.
pub(crate) fn decode_response(
    head: &[u8],
    known: &mut Known,
) -> Result<(Response<()>, Option<HeaderValue>), DecodeError> {
    let message = own(head);
    let (mut number, mut fields, mut upgrade) = (None, None, None);
    json::members(text(&message)?, |name, json| match name {
        "status" => once(&mut number, json.value()?),
        "fields" => once(&mut fields, json.fields_by(&message, known)?),
        "upgrade" => once(&mut upgrade, json.value()?),
        _ => json.value().map(|IgnoredAny| ()),
    })?;
    let (Some(number), Some(fields)) = (number, fields) else {
        return Err(DecodeError::Head);
    };
    let upgrade = protocol(upgrade)?;
    let status = StatusCode::from_u16(number)
        .ok()
        .filter(|status| !status.is_informational() || upgrade.is_some())
        .ok_or(DecodeError::Status(number))?;
    if (status == StatusCode::SWITCHING_PROTOCOLS) != upgrade.is_some() {
        return Err(DecodeError::Status(number));
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    Ok((response, upgrade))
}

/// Bytes that fields have on the wire.
pub(crate) fn fields_length(fields: &HeaderMap) -> usize {
    encode_trailers(fields).len()
}

/// Writes trailer fields.
pub(crate) fn encode_trailers(trailers: &HeaderMap) -> Bytes {
    let mut out = Vec::new();
    json::put_fields(&mut out, trailers);
    out.into()
}

/// Reads trailer fields, without those that may not be any.
pub(crate) fn decode_trailers(trailers: &[u8]) -> Result<HeaderMap, DecodeError> {
    let message = own(trailers);
    let mut json = json::Reader::new(text(&message)?);
    let mut trailers = json.fields(&message)?;
    json.end()?;
    remove_forbidden(&mut trailers);
    Ok(trailers)
}

/// A head in a buffer of its own, of which the values are slices: slices of the WebSocket's would keep
/// that whole, for as long as a call keeps one of them.
pub(crate) fn own(head: &[u8]) -> Bytes {
    Bytes::copy_from_slice(head)
}

fn text(message: &[u8]) -> Result<&str, DecodeError> {
    str::from_utf8(message).map_err(|_| DecodeError::Head)
}

/// Keeps the value of a member, which an object has once.
fn once<T>(member: &mut Option<T>, value: T) -> Result<(), DecodeError> {
    match member.replace(value) {
        None => Ok(()),
        Some(_) => Err(DecodeError::Head),
    }
}

/// The protocol that a head names.
fn protocol(upgrade: Option<Option<String>>) -> Result<Option<HeaderValue>, DecodeError> {
    let upgrade = upgrade.flatten();
    let upgrade = upgrade.as_deref().map(value).transpose();
    upgrade.map_err(invalid)
}

fn put_upgrade(out: &mut Vec<u8>, protocol: Option<&HeaderValue>) {
    if let Some(protocol) = protocol {
        out.put_slice(b",\"upgrade\":");
        json::put_string(out, protocol.as_bytes());
    }
}

fn invalid(error: impl Into<http::Error>) -> DecodeError {
    DecodeError::Invalid(error.into())
}

/// The characters of a string as the bytes of a value. A character that is no byte becomes a control
/// character, which no value may have.
fn value(latin: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    if latin.is_ascii() {
        return HeaderValue::from_str(latin);
    }
    let bytes = latin
        .chars()
        .map(|letter| u8::try_from(letter).unwrap_or(0));
    HeaderValue::from_maybe_shared(bytes.collect::<Bytes>())
}

/// Bytes of a head for which there is room at once.
const LIKELY: usize = 1 << 10;

/// A head that is read and written again says the same.
#[cfg(any(test, fuzzing))]
pub(crate) fn reread(data: &[u8]) {
    let mut known = Known::default();
    if let Ok((request, asks)) = decode_request(&own(data), &mut known) {
        let (head, ()) = request.into_parts();
        let again = decode_request(&encode_request(&head, &asks), &mut known);
        let (again, asked) = again.expect("we wrote it");
        assert_eq!((again.headers(), again.uri()), (&head.headers, &head.uri));
        assert_eq!((again.method(), asked), (&head.method, asks));
    }
    if let Ok((response, upgrade)) = decode_response(data, &mut known) {
        let (head, ()) = response.into_parts();
        let again = decode_response(&encode_response(&head, upgrade.as_ref()), &mut known);
        let (again, upgraded) = again.expect("we wrote it");
        assert_eq!(
            (again.headers(), again.status()),
            (&head.headers, head.status)
        );
        assert_eq!(upgraded, upgrade);
    }
    if let Ok(trailers) = decode_trailers(data) {
        let again = decode_trailers(&encode_trailers(&trailers)).expect("we wrote it");
        assert_eq!(again, trailers);
    }
}

/// A head that is written is read as it was.
#[cfg(any(test, fuzzing))]
pub(crate) fn carry(head: &response::Parts) {
    let read = decode_response(&encode_response(head, None), &mut Known::default());
    let (read, upgrade) = read.expect("we wrote it");
    assert_eq!((read.headers(), upgrade), (&head.headers, None));
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_members_in_any_order_and_each_once() {
        let read = |head: &str| {
            let read = decode_request(&own(head.as_bytes()), &mut Known::default());
            read.map(|(request, _)| request)
        };
        let other = r#" { "later" : [{"a":[1]}], "fields":[], "expect":false, "target":"/a\"b","upgrade":null,
            "method":"GET" } "#;
        let request = read(other).unwrap();
        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::GET, "/a\"b")
        );
        for head in [
            "",
            "{}",
            "[]",
            r#"{"method":"GET","target":"/"}"#,
            r#"{"method":"GET","method":"GET","target":"/","fields":[]}"#,
            r#"{"method":"GET","target":"/","fields":[],}"#,
            r#"{"method":"GET","target":"/","fields":[]}{}"#,
            r#"{"method":"GET","target":"/","fields":null}"#,
            r#"{"method":"GET","target":"/","fields":[],"expect":1}"#,
            r#"{"method":"GET","target":"http://a/","fields":[]}"#,
        ] {
            assert!(read(head).is_err(), "{head}");
        }
        assert!(decode_trailers(b"[]").is_ok() && decode_trailers(b"[]x").is_err());
    }

    fn fields() -> impl Strategy<Value = HeaderMap> {
        // Any byte that a value may have: all but control characters, and tab.
        let byte = prop_oneof![Just(b'\t'), 0x20u8..0x7f, 0x80u8..=0xff];
        let value = prop::collection::vec(byte, 0..20);
        prop::collection::vec(("x-[a-z0-9-]{1,12}", value), 0..12).prop_map(|fields| {
            let fields = fields.into_iter().map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                (name, HeaderValue::from_bytes(&value).unwrap())
            });
            fields.collect()
        })
    }

    proptest! {
        #[test]
        fn carries_any_request_head(
            method in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,10}",
            target in "/[!-~&&[^#<>\"`]]{0,40}",
            headers in fields(),
            expect: bool,
        ) {
            let Ok(uri) = target.parse::<Uri>() else { return Ok(()) };
            let mut request = Request::new(());
            *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
            *request.uri_mut() = uri;
            *request.headers_mut() = headers.clone();
            let (head, ()) = request.into_parts();
            let upgrade = headers.values().next().cloned();
            let asks = Asks { upgrade, expect };
            let envelope = encode_request(&head, &asks);
            let (read, asked) = decode_request(&envelope, &mut Known::default()).unwrap();
            prop_assert_eq!(read.uri().to_string(), target);
            prop_assert_eq!(read.method().as_str(), method);
            prop_assert_eq!(read.headers(), &headers);
            prop_assert_eq!(asked, asks);
        }

        #[test]
        fn carries_any_response_head(status in 200u16..1000, headers in fields()) {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            *response.headers_mut() = headers.clone();
            let (head, ()) = response.into_parts();
            let envelope = encode_response(&head, None);
            let (read, upgrade) = decode_response(&envelope, &mut Known::default()).unwrap();
            prop_assert_eq!(read.status().as_u16(), status);
            prop_assert_eq!(read.headers(), &headers);
            prop_assert_eq!(upgrade, None);
            prop_assert_eq!(decode_trailers(&encode_trailers(&headers)).unwrap(), headers);
        }
    }
}
