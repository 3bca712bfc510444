//! What the envelopes of the Go programs have in common: fields as an object of lists, and a body with
//! its announced length.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, HeaderMap, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::headers::{MAX_FIELDS, canonical, remove_hop_by_hop, remove_trailer_fields, text};
use crate::{DecodeError, EncodeError};

/// Writes an envelope as JSON.
pub(super) fn json(envelope: &impl Serialize) -> String {
    serde_json::to_string(envelope).expect("strings, numbers and lists are always JSON")
}

/// Reads an envelope from JSON. That it is UTF-8 is seen once, and not string by string.
pub(super) fn read_json<'a, T: Deserialize<'a>>(message: &'a [u8]) -> serde_json::Result<T> {
    match str::from_utf8(message) {
        Ok(text) => serde_json::from_str(text),
        // Says where it is not, if that matters.
        Err(_) => serde_json::from_slice(message),
    }
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
        let name_in_go = canonical(name).map(char::from).collect();
        let values = object.entry(name_in_go).or_default();
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

/// The fields of an envelope, and never more than either side takes: a message has room for millions.
#[derive(Default)]
pub(super) struct Fields {
    map: HeaderMap,
    /// The first of what can be no field. The envelope is one all the same.
    invalid: Option<http::Error>,
}

impl Fields {
    /// The fields, where each can be one.
    pub(super) fn into_map(self) -> Result<HeaderMap, DecodeError> {
        match self.invalid {
            None => Ok(self.map),
            Some(error) => Err(DecodeError::Invalid(error)),
        }
    }

    fn append(&mut self, name: &str, value: &str) -> Result<(), http::Error> {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        let value = HeaderValue::from_bytes(value.as_bytes())?;
        self.map.try_append(name, value)?;
        Ok(())
    }
}

/// Reads one value.
pub(super) fn header_value(value: &str) -> Result<HeaderValue, DecodeError> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|error| DecodeError::Invalid(error.into()))
}

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
        let mut fields = Fields {
            map: HeaderMap::with_capacity(LIKELY),
            invalid: None,
        };
        while let Some(Text(name)) = map.next_key()? {
            let fields = &mut fields;
            map.next_value_seed(Values { name, fields })?;
        }
        Ok(fields)
    }
}

/// A string that lies in the message, where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The values of one field, which go to the others. Go writes `null` where there are none.
struct Values<'a, 'f> {
    name: Cow<'a, str>,
    fields: &'f mut Fields,
}

impl<'de> DeserializeSeed<'de> for Values<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Values<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(Text(value)) = list.next_element()? {
            if self.fields.map.len() == MAX_FIELDS {
                return Err(de::Error::custom("too many fields"));
            }
            if let Err(error) = self.fields.append(&self.name, &value) {
                self.fields.invalid.get_or_insert(error);
            }
        }
        Ok(())
    }
}

/// Fields for which there is room at once.
const LIKELY: usize = 24;

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
        Some(length) if length != HeaderValue::from(actual) => Err(DecodeError::BodyLength {
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
