//! What the envelopes of the Go programs have in common: fields as an object of lists, and a body with
//! its announced length.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::headers::{MAX_FIELDS, canonical, remove_hop_by_hop, remove_trailer_fields, text};
use crate::{DecodeError, EncodeError};

/// Writes an envelope as JSON.
pub(super) fn json(envelope: &impl Serialize) -> String {
    serde_json::to_string(envelope).expect("strings, numbers and lists are always JSON")
}

/// Trims the fields of a request that has its whole body. The body is framed by Content-Length,
/// however it came; a request that had no body has none.
pub(super) fn frame(fields: &mut HeaderMap, body: &[u8]) {
    let framed = fields.contains_key(CONTENT_LENGTH) || fields.contains_key(TRANSFER_ENCODING);
    fields.remove(CONTENT_LENGTH);
    trim(fields);
    if framed || !body.is_empty() {
        fields.insert(CONTENT_LENGTH, body.len().into());
    }
}

/// Removes what concerns one hop, or has no meaning where a message is whole.
pub(super) fn trim(fields: &mut HeaderMap) {
    remove_hop_by_hop(fields);
    remove_trailer_fields(fields);
    // The body is already here: there is nothing to wait for.
    fields.remove(EXPECT);
}

/// Fields as an object of lists, under the names that Go gives them.
pub(super) fn object(fields: &HeaderMap) -> Result<BTreeMap<String, Vec<&str>>, EncodeError> {
    let mut object: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in fields {
        let values = object.entry(canonical(name)).or_default();
        values.push(text(name, value)?);
    }
    Ok(object)
}

/// Reads a method.
pub(super) fn method(method: &str) -> Result<Method, DecodeError> {
    Method::from_bytes(method.as_bytes()).map_err(|error| DecodeError::Invalid(error.into()))
}

/// Reads a final status.
pub(super) fn status(code: u16) -> Result<StatusCode, DecodeError> {
    StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational())
        .ok_or(DecodeError::Status(code))
}

/// The fields of an envelope, flat, and never more than either side takes: a message has room for
/// millions.
#[derive(Default)]
pub(super) struct Fields<'a>(Vec<(Text<'a>, Text<'a>)>);

/// A string that lies in the message, where it has no escapes.
#[derive(Clone, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Fields<'_> {
    /// Reads the fields out of their object.
    pub(super) fn into_map(self) -> Result<HeaderMap, DecodeError> {
        let mut headers = HeaderMap::with_capacity(self.0.len());
        for (Text(name), Text(value)) in self.0 {
            headers
                .try_append(header_name(&name)?, header_value(&value)?)
                .map_err(|error| DecodeError::Invalid(error.into()))?;
        }
        Ok(headers)
    }
}

fn header_name(name: &str) -> Result<HeaderName, DecodeError> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|error| DecodeError::Invalid(error.into()))
}

/// Reads one value.
pub(super) fn header_value(value: &str) -> Result<HeaderValue, DecodeError> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|error| DecodeError::Invalid(error.into()))
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of lists of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            let Values(values) = map.next_value::<Option<Values<'de>>>()?.unwrap_or_default();
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
struct Values<'a>(Vec<Text<'a>>);

impl<'de> Deserialize<'de> for Values<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Values<'de>, A::Error> {
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
pub(super) fn fit_body(response: &mut Response<Bytes>, method: &Method) -> Result<(), DecodeError> {
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

/// Any fields that an envelope carries.
#[cfg(test)]
pub(super) fn any_fields() -> impl proptest::strategy::Strategy<Value = HeaderMap> {
    use proptest::prelude::*;

    let name = "x-[a-z0-9-]{1,12}".prop_map(|name| name.parse::<HeaderName>().unwrap());
    let value = "[ -~\u{e9}\u{4f60}]{0,20}"
        .prop_map(|value| HeaderValue::from_bytes(value.trim().as_bytes()).unwrap());
    prop::collection::vec((name, value), 0..12).prop_map(HeaderMap::from_iter)
}
