//! Heads: the JSON envelopes of requests, responses and trailers.
//!
//! A field is a pair of strings. Each character of a value stands for one byte, U+0000 to U+00FF, so
//! that a value of any bytes is carried without loss and plain ASCII reads as it is.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, request, response};
use serde::de::{self, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::DecodeError;
use crate::headers::MAX_FIELDS;
use crate::trailers::remove_forbidden;

/// What a request says beside its method, target and fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks {
    /// The protocol that the request asks to be upgraded to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// The visitor waits for a 100 before it sends the body (RFC 9110, section 10.1.1).
    pub(crate) expect: bool,
}

#[derive(Serialize, Deserialize)]
struct RequestHead<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    target: Cow<'a, str>,
    fields: Fields<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upgrade: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    expect: bool,
}

#[derive(Serialize, Deserialize)]
struct ResponseHead<'a> {
    status: u16,
    fields: Fields<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upgrade: Option<String>,
}

/// Writes a request's head.
pub(crate) fn encode_request(head: &request::Parts, asks: &Asks) -> Bytes {
    json(&RequestHead {
        method: head.method.as_str().into(),
        target: head
            .uri
            .path_and_query()
            .map_or("/", PathAndQuery::as_str)
            .into(),
        fields: Fields(Cow::Borrowed(&head.headers)),
        upgrade: asks.upgrade.as_ref().map(latin),
        expect: asks.expect,
    })
}

/// Reads a request's head. Its target has no scheme and no authority, whatever was sent.
pub(crate) fn decode_request(head: &[u8]) -> Result<(Request<()>, Asks), DecodeError> {
    let head: RequestHead<'_> = serde_json::from_slice(head)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method.as_bytes()).map_err(invalid)?;
    if !(head.target.starts_with('/') || head.target == "*") {
        return Err(DecodeError::Target);
    }
    let target = PathAndQuery::try_from(head.target.as_ref()).map_err(invalid)?;
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = head.fields.0.into_owned();
    let upgrade = head.upgrade.as_deref().map(value).transpose();
    let asks = Asks {
        upgrade: upgrade.map_err(invalid)?,
        expect: head.expect,
    };
    Ok((request, asks))
}

/// Writes a response's head, with the protocol that it switches to.
pub(crate) fn encode_response(head: &response::Parts, upgrade: Option<&HeaderValue>) -> Bytes {
    json(&ResponseHead {
        status: head.status.as_u16(),
        fields: Fields(Cow::Borrowed(&head.headers)),
        upgrade: upgrade.map(latin),
    })
}

/// Reads a response's head, and the protocol that it switches to.
pub(crate) fn decode_response(
    head: &[u8],
) -> Result<(Response<()>, Option<HeaderValue>), DecodeError> {
    let head: ResponseHead<'_> = serde_json::from_slice(head)?;
    let upgrade = head.upgrade.as_deref().map(value).transpose();
    let upgrade = upgrade.map_err(invalid)?;
    let status = StatusCode::from_u16(head.status)
        .ok()
        .filter(|status| !status.is_informational() || upgrade.is_some())
        .ok_or(DecodeError::Status(head.status))?;
    if (status == StatusCode::SWITCHING_PROTOCOLS) != upgrade.is_some() {
        return Err(DecodeError::Status(head.status));
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = head.fields.0.into_owned();
    Ok((response, upgrade))
}

/// Writes trailer fields.
pub(crate) fn encode_trailers(trailers: &HeaderMap) -> Bytes {
    json(&Fields(Cow::Borrowed(trailers)))
}

/// Reads trailer fields, without those that may not be any.
pub(crate) fn decode_trailers(trailers: &[u8]) -> Result<HeaderMap, DecodeError> {
    let fields: Fields<'_> = serde_json::from_slice(trailers)?;
    let mut trailers = fields.0.into_owned();
    remove_forbidden(&mut trailers);
    Ok(trailers)
}

fn json(head: &impl Serialize) -> Bytes {
    let json = serde_json::to_vec(head);
    json.expect("strings, numbers and lists are always JSON")
        .into()
}

fn invalid(error: impl Into<http::Error>) -> DecodeError {
    DecodeError::Invalid(error.into())
}

/// The bytes of a value as characters.
fn latin(value: &HeaderValue) -> String {
    value.as_bytes().iter().copied().map(char::from).collect()
}

/// The characters of a string as the bytes of a value.
fn value(latin: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    if latin.is_ascii() {
        return HeaderValue::from_str(latin);
    }
    // A character that is no byte becomes a control character, which no value may have.
    let bytes: Vec<u8> = latin
        .chars()
        .map(|letter| u8::try_from(letter).unwrap_or(0))
        .collect();
    HeaderValue::from_maybe_shared(Bytes::from(bytes))
}

/// Fields in their order, written from and read into the map itself.
struct Fields<'a>(Cow<'a, HeaderMap>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_seq(Some(self.0.len()))?;
        for (name, value) in self.0.iter() {
            match value.to_str() {
                Ok(text) => pairs.serialize_element(&(name.as_str(), text))?,
                Err(_) => pairs.serialize_element(&(name.as_str(), latin(value)))?,
            }
        }
        pairs.end()
    }
}

impl<'de> Deserialize<'de> for Fields<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'static>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pairs of a field's name and value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
        let mut headers = HeaderMap::with_capacity(pairs.size_hint().unwrap_or(16).min(64));
        while let Some(Pair(name, text)) = pairs.next_element()? {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(de::Error::custom)?;
            let value = value(&text).map_err(de::Error::custom)?;
            headers.try_append(name, value).map_err(de::Error::custom)?;
            if headers.len() > MAX_FIELDS {
                return Err(de::Error::custom("too many fields"));
            }
        }
        Ok(Fields(Cow::Owned(headers)))
    }
}

/// A name and a value, borrowed from the message where JSON has no escapes in them.
#[derive(Deserialize)]
struct Pair<'a>(#[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>);

/// A head that is read and written again says the same.
#[cfg(any(test, fuzzing))]
pub(crate) fn reread(data: &[u8]) {
    if let Ok((request, asks)) = decode_request(data) {
        let (head, ()) = request.into_parts();
        let (again, asked) = decode_request(&encode_request(&head, &asks)).expect("we wrote it");
        assert_eq!((again.headers(), again.uri()), (&head.headers, &head.uri));
        assert_eq!((again.method(), asked), (&head.method, asks));
    }
    if let Ok((response, upgrade)) = decode_response(data) {
        let (head, ()) = response.into_parts();
        let again = decode_response(&encode_response(&head, upgrade.as_ref()));
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
    let (read, upgrade) = decode_response(&encode_response(head, None)).expect("we wrote it");
    assert_eq!((read.headers(), upgrade), (&head.headers, None));
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
    use proptest::prelude::*;

    use super::*;

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
            let (read, asked) = decode_request(&encode_request(&head, &asks)).unwrap();
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
            let (read, upgrade) = decode_response(&encode_response(&head, None)).unwrap();
            prop_assert_eq!(read.status().as_u16(), status);
            prop_assert_eq!(read.headers(), &headers);
            prop_assert_eq!(upgrade, None);
            prop_assert_eq!(decode_trailers(&encode_trailers(&headers)).unwrap(), headers);
        }
    }
}
