//! The JSON of heads, to and from the map of fields itself: every call pays for it at four places, and
//! a general reader and writer took a fifth of all that a call costs.
//!
//! Strings without an escape, which is nearly every one, are found by their quotes and become slices. All
//! that is not plain goes to serde_json.

use std::borrow::Cow;

use bytes::{BufMut, Bytes};
use http::header::{HeaderMap, HeaderName, HeaderValue, InvalidHeaderName, InvalidHeaderValue};
use memchr::memchr2;
use serde::Deserialize;

use super::Known;
use super::plain::{are_plain, is_plain};
use crate::DecodeError;
use crate::headers::MAX_FIELDS;

/// Writes fields in their order.
pub(super) fn put_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    out.put_u8(b'[');
    let mut before: &[u8] = b"[\"";
    for (name, value) in fields {
        out.put_slice(before);
        // A token holds nothing that JSON escapes.
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b"\",\"");
        put_characters(out, value.as_bytes());
        before = b"\"],[\"";
    }
    out.put_slice(if fields.is_empty() { b"]" } else { b"\"]]" });
}

/// Writes bytes as a string in which each character stands for one byte, U+0000 to U+00FF.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u8(b'"');
    put_characters(out, bytes);
    out.put_u8(b'"');
}

fn put_characters(out: &mut Vec<u8>, bytes: &[u8]) {
    if are_plain(bytes) {
        out.put_slice(bytes);
    } else {
        put_escaped(out, bytes);
    }
}

fn put_escaped(out: &mut Vec<u8>, mut bytes: &[u8]) {
    while let Some(at) = bytes.iter().position(|byte| !is_plain(*byte)) {
        let (plain, special) = bytes.split_at(at);
        out.put_slice(plain);
        match special[0] {
            byte @ (b'"' | b'\\') => out.put_slice(&[b'\\', byte]),
            b'\t' => out.put_slice(b"\\t"),
            byte @ 0x80.. => out.extend(char::from(byte).encode_utf8(&mut [0; 2]).bytes()),
            byte => out.extend(format!("\\u{byte:04x}").bytes()),
        }
        bytes = &special[1..];
    }
    out.put_slice(bytes);
}

/// Reads the members of an object, which is the whole text: `member` is given each name, and reads the
/// value.
pub(super) fn members<'a>(
    text: &'a str,
    mut member: impl FnMut(&str, &mut Reader<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut json = Reader::new(text);
    json.list(b'{', b'}', |json| {
        let name = json.string()?;
        json.expect(b':')?;
        member(&name, json)
    })?;
    json.end()
}

/// A reader of values, one after the other.
pub(super) struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self(text.trim_ascii_start())
    }

    /// What was not read.
    pub(super) const fn rest(&self) -> &'a str {
        self.0
    }

    /// Sees that nothing is left.
    pub(super) const fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Head)
        }
    }

    /// Reads fields as [`fields`](Self::fields) does, in less time where the list is like a known one.
    pub(super) fn fields_by(
        &mut self,
        message: &Bytes,
        known: &mut Known,
    ) -> Result<HeaderMap, DecodeError> {
        let text = self.0;
        if let Some((fields, rest)) = known.read(text, message) {
            self.0 = rest;
            return Ok(fields);
        }
        let fields = self.fields(message)?;
        known.learn(&text[..text.len() - self.0.len()], message, &fields);
        Ok(fields)
    }

    /// Reads fields. Their values are slices of the message in which this lies.
    pub(super) fn fields(&mut self, message: &Bytes) -> Result<HeaderMap, DecodeError> {
        let mut fields = HeaderMap::with_capacity(LIKELY);
        self.list(b'[', b']', |json| {
            let (name, value) = json.pair()?;
            if fields.len() == MAX_FIELDS {
                return Err(DecodeError::Head);
            }
            let name = name_of(&name).map_err(super::invalid)?;
            let value = value_of(message, value).map_err(super::invalid)?;
            fields.try_append(name, value).map_err(super::invalid)?;
            Ok(())
        })?;
        Ok(fields)
    }

    /// Reads a list of two strings.
    fn pair(&mut self) -> Result<(Cow<'a, str>, Cow<'a, str>), DecodeError> {
        if let Some((name, value, rest)) = plain_pair(self.0) {
            self.0 = rest;
            return Ok((name.into(), value.into()));
        }
        self.expect(b'[')?;
        let name = self.string()?;
        self.expect(b',')?;
        let value = self.string()?;
        self.expect(b']')?;
        Ok((name, value))
    }

    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let Some(text) = self.0.strip_prefix('"') else {
            return Err(DecodeError::Head);
        };
        let (string, rest) = match plain_string(text) {
            Some((string, rest)) => (string.into(), rest),
            None => escaped(self.0)?,
        };
        self.0 = rest.trim_ascii_start();
        Ok(string)
    }

    /// Reads any value as serde has it.
    pub(super) fn value<T: Deserialize<'a>>(&mut self) -> Result<T, DecodeError> {
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter();
        let value = values.next().ok_or(DecodeError::Head)??;
        self.0 = self.0[values.byte_offset()..].trim_ascii_start();
        Ok(value)
    }

    /// Reads what is between two brackets, with commas between its elements.
    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut element: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.expect(open)?;
        if self.takes(close) {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.takes(b',') {
                return self.expect(close);
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), DecodeError> {
        if self.takes(byte) {
            Ok(())
        } else {
            Err(DecodeError::Head)
        }
    }

    /// Goes behind a byte, and the white space after it, where that is the next.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.0.as_bytes().first() == Some(&byte);
        if is_next {
            self.0 = self.0[1..].trim_ascii_start();
        }
        is_next
    }
}

/// What two strings hold that have no escape, and come as our own writer has them: `["a","b"]`, and what
/// comes behind.
fn plain_pair(text: &str) -> Option<(&str, &str, &str)> {
    let (first, text) = plain_string(text.strip_prefix("[\"")?)?;
    let (second, text) = plain_string(text.strip_prefix(",\"")?)?;
    let rest = text.strip_prefix(']')?;
    Some((first, second, rest.trim_ascii_start()))
}

/// What a string holds that has no escape, and what comes behind its last quote. The first is read.
fn plain_string(text: &str) -> Option<(&str, &str)> {
    let end = memchr2(b'"', b'\\', text.as_bytes())?;
    let (string, rest) = text.split_at(end);
    Some((string, rest.strip_prefix('"')?))
}

/// A name. Those that most requests have, and `http` does not know, need no memory of their own.
fn name_of(text: &str) -> Result<HeaderName, InvalidHeaderName> {
    macro_rules! frequent {
        ($($name:literal)*) => {
            match text {
                $($name => Ok(const { HeaderName::from_static($name) }),)*
                _ => HeaderName::from_bytes(text.as_bytes()),
            }
        };
    }
    frequent! {
        "priority" "sec-ch-ua" "sec-ch-ua-mobile" "sec-ch-ua-platform" "sec-fetch-dest"
        "sec-fetch-mode" "sec-fetch-site" "sec-fetch-user" "x-forwarded-for" "x-forwarded-host"
        "x-forwarded-port" "x-forwarded-proto" "x-request-id"
    }
}

/// The characters of a string as the bytes of a value. A character that is no byte becomes a control
/// character, which no value may have.
pub(super) fn value_of(
    message: &Bytes,
    text: Cow<'_, str>,
) -> Result<HeaderValue, InvalidHeaderValue> {
    match text {
        Cow::Borrowed(text) if text.is_ascii() => {
            HeaderValue::from_maybe_shared(message.slice_ref(text.as_bytes()))
        }
        Cow::Owned(text) if text.is_ascii() => HeaderValue::from_maybe_shared(Bytes::from(text)),
        text => super::value(&text),
    }
}

/// Reads the string that a text begins with, escapes and all, and returns what comes behind it.
fn escaped(text: &str) -> Result<(Cow<'_, str>, &str), DecodeError> {
    let mut string = String::new();
    let mut rest = text.get(1..).unwrap_or_default();
    while let Some(at) = memchr2(b'"', b'\\', rest.as_bytes()) {
        string.push_str(&rest[..at]);
        match rest.as_bytes()[at..] {
            [b'"', ..] => return Ok((string.into(), &rest[at + 1..])),
            [_, byte @ (b'"' | b'\\'), ..] => string.push(char::from(byte)),
            _ => return rarely_escaped(text),
        }
        rest = &rest[at + 2..];
    }
    Err(DecodeError::Head)
}

/// The same for a string with escapes that few values need, or with none that there is.
fn rarely_escaped(text: &str) -> Result<(Cow<'_, str>, &str), DecodeError> {
    let mut strings = serde_json::Deserializer::from_str(text).into_iter();
    let Some(string) = strings.next() else {
        return Err(DecodeError::Head);
    };
    let string: String = string?;
    Ok((string.into(), &text[strings.byte_offset()..]))
}

/// Fields for which there is room at once.
const LIKELY: usize = 24;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::Reader;
    use crate::headers::MAX_FIELDS;

    /// The fields that are read, or nothing where they are none.
    fn read(json: &str) -> Option<Vec<(String, Vec<u8>)>> {
        let message = Bytes::copy_from_slice(json.as_bytes());
        let mut reader = Reader(str::from_utf8(&message).unwrap());
        let fields = reader.fields(&message).ok()?;
        reader.end().ok()?;
        let pair = fields.iter();
        let pair = pair.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        Some(pair.collect())
    }

    #[test]
    fn reads_what_other_writers_of_json_write() {
        let pair = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        assert_eq!(read("[]"), Some(vec![]));
        let spaced = "[ [ \"a\" , \"1\" ] ,\n\t[\"B\",\"\"] ]";
        assert_eq!(read(spaced), Some(vec![pair("a", b"1"), pair("b", b"")]));
        let escaped = r#"[["\u0061","\"\\ \u00e9\/"],["b","\t]"]]"#;
        let expected = vec![pair("a", b"\"\\ \xe9/"), pair("b", b"\t]")];
        assert_eq!(read(escaped), Some(expected));
        assert_eq!(read("[[\"a\",\"\u{e9}\"]]"), Some(vec![pair("a", b"\xe9")]));
    }

    #[test]
    fn refuses_what_is_no_list_of_fields() {
        for json in [
            "{}",
            "null",
            "[1]",
            "[[]]",
            r#"[["a"]]"#,
            r#"[["a",1]]"#,
            r#"[["a","b","c"]]"#,
            r#"["a","b"]"#,
            r#"[["a b","c"]]"#,
            r#"[["","c"]]"#,
            r#"[["a","\n"]]"#,
            r#"[["a","\u0000"]]"#,
            "[[\"a\",\"\u{100}\"]]",
            r#"[["a","b"],{}]"#,
            r#"[["a","b"],]"#,
            "[] []",
            r#"[["a","b"]["a","b"]]"#,
            r#"[["a","b]"#,
            r#"[["a","b\"]"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn takes_no_more_fields_than_it_must() {
        let list = |length| format!("[{}]", vec![r#"["a","b"]"#; length].join(","));
        assert_eq!(
            read(&list(MAX_FIELDS)).map(|fields| fields.len()),
            Some(MAX_FIELDS)
        );
        assert_eq!(read(&list(MAX_FIELDS + 1)), None);
    }
}
