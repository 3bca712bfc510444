//! ggrok's own envelopes: one JSON text message each way.
//!
//! A request is `{Req, URL}` with the whole request as HTTP/1.1 text in `Req`; a response is
//! `{Status, StatusCode, Proto, Header, Body, ContentType}` with its body in base64.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, request, response};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::http1;
use crate::headers::{MAX_FIELDS, canonical, remove_hop_by_hop, remove_trailer_fields, text};
use crate::{DecodeError, EncodeError};

#[derive(Serialize, Deserialize)]
struct RequestEnvelope<'a> {
    #[serde(rename = "Req", borrow)]
    request: Cow<'a, str>,
    #[serde(rename = "URL", borrow)]
    url: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResponseEnvelope<'a, H> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    status_code: u16,
    #[serde(borrow, default)]
    proto: Cow<'a, str>,
    /// Names to lists of values. Go writes `null` where it has none.
    header: Option<H>,
    /// Go writes `null` where it has no body.
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content_type: Cow<'a, str>,
}

/// Writes a request as an envelope.
pub(crate) fn encode_request(head: &request::Parts, body: &[u8]) -> Result<String, EncodeError> {
    let target = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let envelope = RequestEnvelope {
        url: url(target)?,
        request: http1::write(head, target, body)?.into(),
    };
    Ok(json(&envelope))
}

/// The target as ggrok's own client has to find it. It reads the path from here with Go's URL
/// parser, which takes `//x/y` for a host, and ends the program over a broken percent escape.
fn url(target: &str) -> Result<Cow<'_, str>, EncodeError> {
    let path = target.split('?').next().unwrap_or_default();
    if !path.split('%').skip(1).all(starts_with_two_digits) {
        return Err(EncodeError::Target);
    }
    Ok(if target.starts_with("//") {
        format!("http://localhost{target}").into()
    } else {
        target.into()
    })
}

fn starts_with_two_digits(escape: &str) -> bool {
    let digits = escape.as_bytes().get(..2);
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// Reads a request from an envelope.
pub(crate) fn decode_request(message: &[u8]) -> Result<Request<Bytes>, DecodeError> {
    let envelope: RequestEnvelope<'_> = serde_json::from_slice(message)?;
    http1::read(&envelope.request)
}

/// Writes a response as an envelope.
pub(crate) fn encode_response(head: &response::Parts, body: &[u8]) -> Result<String, EncodeError> {
    let mut headers = head.headers.clone();
    remove_hop_by_hop(&mut headers);
    remove_trailer_fields(&mut headers);
    let mut fields: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in &headers {
        let values = fields.entry(canonical(name)).or_default();
        values.push(text(name, value)?);
    }
    let content_type = headers
        .get(CONTENT_TYPE)
        .map_or(Ok(""), |value| text(&CONTENT_TYPE, value))?;
    let reason = head.status.canonical_reason().unwrap_or_default();
    let envelope = ResponseEnvelope {
        status: format!("{} {reason}", head.status.as_str()).into(),
        status_code: head.status.as_u16(),
        proto: format!("{:?}", head.version).into(),
        header: Some(fields),
        body: Some(BASE64_STANDARD.encode(body).into()),
        content_type: content_type.into(),
    };
    Ok(json(&envelope))
}

fn json(envelope: &impl Serialize) -> String {
    serde_json::to_string(envelope).expect("strings, numbers and lists are always JSON")
}

/// Reads a response to a request with this method from an envelope. Its body has the length that
/// was announced, or none where HTTP allows none (RFC 9110, section 6.4.1).
pub(crate) fn decode_response(
    message: &[u8],
    method: &Method,
) -> Result<Response<Bytes>, DecodeError> {
    let envelope: ResponseEnvelope<'_, Fields> = serde_json::from_slice(message)?;
    let body = BASE64_STANDARD.decode(envelope.body.as_deref().unwrap_or_default())?;
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status(envelope.status_code)?;
    add_fields(&mut response, envelope).map_err(DecodeError::Invalid)?;
    remove_hop_by_hop(response.headers_mut());
    remove_trailer_fields(response.headers_mut());
    fit_body(&mut response, method)?;
    Ok(response)
}

fn status(code: u16) -> Result<StatusCode, DecodeError> {
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational())
        .ok_or(DecodeError::Status(code))
}

fn add_fields(
    response: &mut Response<Bytes>,
    envelope: ResponseEnvelope<'_, Fields>,
) -> Result<(), http::Error> {
    let headers = response.headers_mut();
    for (name, value) in envelope.header.unwrap_or_default().0 {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        headers.try_append(name, HeaderValue::from_bytes(value.as_bytes())?)?;
    }
    if !envelope.content_type.is_empty() && !headers.contains_key(CONTENT_TYPE) {
        let value = HeaderValue::from_bytes(envelope.content_type.as_bytes())?;
        headers.insert(CONTENT_TYPE, value);
    }
    Ok(())
}

/// The fields of an answer, flat, and never more than a relay takes: a message has room for
/// millions.
#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of lists of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let Values(values) = map.next_value::<Option<Values>>()?.unwrap_or_default();
            fields.extend(values.into_iter().map(|value| (name.clone(), value)));
            if fields.len() > MAX_FIELDS {
                return Err(de::Error::custom("too many fields"));
            }
        }
        Ok(Fields(fields))
    }
}

/// The values of one field.
#[derive(Default)]
struct Values(Vec<String>);

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            if values.len() == MAX_FIELDS {
                return Err(de::Error::custom("too many values of one field"));
            }
            values.push(value);
        }
        Ok(Values(values))
    }
}

/// Makes the body and its announced length agree, or says that they do not: a response that broke
/// off at the local server must not look whole.
fn fit_body(response: &mut Response<Bytes>, method: &Method) -> Result<(), DecodeError> {
    let status = response.status();
    let headers = response.headers_mut();
    let announced = headers.get(CONTENT_LENGTH).cloned();
    let announces_only = method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    if !announces_only {
        headers.remove(CONTENT_LENGTH);
    }
    if announces_only || status == StatusCode::NO_CONTENT {
        response.body_mut().clear();
        return Ok(());
    }
    let actual = response.body().len();
    match announced {
        Some(length) if length != actual.to_string() => Err(DecodeError::BodyLength {
            announced: String::from_utf8_lossy(length.as_bytes()).into_owned(),
            actual,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
