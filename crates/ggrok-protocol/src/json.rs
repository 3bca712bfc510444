//! Text inside the strings of JSON that is written by hand: the envelopes on a call's way.

use bytes::BufMut;

/// Writes a text as what stands between the quotes of a string.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let is_special = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    // Without a way out before the end, and counted in bytes, so that many are looked at in one step.
    let special = text
        .bytes()
        .fold(0, |special, byte| special | u8::from(is_special(byte)));
    if special == 0 {
        out.put_slice(text.as_bytes());
    } else {
        put_escaped(out, text);
    }
}

fn put_escaped(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    serde_json::to_writer(&mut *out, text)
        .expect("a string is always JSON, and a vector takes all");
    // Without its quotes.
    out.pop();
    out.remove(start);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::put_text;

    proptest! {
        #[test]
        fn writes_what_other_readers_read(text in "[ -~\u{0}-\u{1f}\u{7f}-\u{ff}\u{4f60}]{0,20}") {
            let mut out = b"[\"a\",\"".to_vec();
            put_text(&mut out, &text);
            out.extend(b"\"]");
            let read: Vec<String> = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read, ["a".to_owned(), text]);
        }
    }
}
