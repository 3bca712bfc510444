//! The JSON of heads, to and from the map of fields itself: every call pays for it at four places, and
//! a general reader and writer took a fifth of all that a call costs.
//!
//! Strings without an escape, which is nearly every one, are found by their quotes and become slices. All
//! that is not plain goes to serde_json.

use std::borrow::Cow;

use bytes::{BufMut, Bytes};
use http::header::{HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use memchr::memchr2;
use serde::Deserialize;

use crate::DecodeError;
use crate::headers::MAX_FIELDS;

/// Writes fields in their order.
pub(super) fn put_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    out.put_u8(b'[');
    for (at, (name, value)) in fields.iter().enumerate() {
        out.put_slice(if at == 0 { b"[" } else { b",[" });
        // A token holds nothing that JSON escapes.
        out.put_u8(b'"');
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b"\",");
        put_string(out, value.as_bytes());
        out.put_u8(b']');
    }
    out.put_u8(b']');
}

/// Writes a text as a string.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is always JSON, and a vector takes all");
}

/// Writes bytes as a string in which each character stands for one byte, U+0000 to U+00FF.
pub(super) fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u8(b'"');
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
    // Without a way out before the end, so that many bytes are looked at in one step.
    if bytes
        .iter()
        .fold(true, |plain, byte| plain & is_plain(*byte))
    {
        out.put_slice(bytes);
    } else {
        put_escaped(out, bytes);
    }
    out.put_u8(b'"');
}

fn put_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.put_slice(&[b'\\', byte]),
            b'\t' => out.put_slice(b"\\t"),
            ..b' ' | 0x7f => out.extend(format!("\\u{byte:04x}").bytes()),
            b' '..=b'~' => out.put_u8(byte),
            0x80.. => out.extend(char::from(byte).encode_utf8(&mut [0; 2]).bytes()),
        }
    }
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

    /// Sees that nothing is left.
    pub(super) const fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Head)
        }
    }

    /// Reads fields. Their values are slices of the message in which this lies.
    pub(super) fn fields(&mut self, message: &Bytes) -> Result<HeaderMap, DecodeError> {
        let mut fields = HeaderMap::with_capacity(LIKELY);
        self.list(b'[', b']', |json| {
            json.expect(b'[')?;
            let name = json.string()?;
            json.expect(b',')?;
            let value = json.string()?;
            json.expect(b']')?;
            if fields.len() == MAX_FIELDS {
                return Err(DecodeError::Head);
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(super::invalid)?;
            let value = value_of(message, value).map_err(super::invalid)?;
            fields.try_append(name, value).map_err(super::invalid)?;
            Ok(())
        })?;
        Ok(fields)
    }

    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let text = self.0.strip_prefix('"').ok_or(DecodeError::Head)?;
        let (string, rest) = match memchr2(b'"', b'\\', text.as_bytes()) {
            Some(end) if text.as_bytes()[end] == b'"' => {
                (Cow::Borrowed(&text[..end]), &text[end + 1..])
            }
            Some(_) => escaped(self.0)?,
            None => return Err(DecodeError::Head),
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

/// The characters of a string as the bytes of a value. A character that is no byte becomes a control
/// character, which no value may have.
fn value_of(message: &Bytes, text: Cow<'_, str>) -> Result<HeaderValue, InvalidHeaderValue> {
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
    let mut end = 1;
    loop {
        let more = text.as_bytes().get(end..).ok_or(DecodeError::Head)?;
        let found = memchr2(b'"', b'\\', more).ok_or(DecodeError::Head)?;
        end += found + 1;
        if more[found] == b'"' {
            break;
        }
        // What comes behind a backslash ends no string.
        end += 1;
    }
    let string: String = serde_json::from_str(&text[..end])?;
    Ok((string.into(), &text[end..]))
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
