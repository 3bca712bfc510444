//! Other people's words, as they may be shown at a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A text without what writes to a terminal or turns its lines around: control characters, and the
/// marks of direction that Unicode has.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return text.into();
    }
    text.replace(is_hidden, "\u{fffd}").into()
}

/// JSON of the same value, in whose strings escapes (RFC 8259, section 7) stand for what [`printable`]
/// would take out.
#[must_use]
pub fn printable_json(json: &str) -> Cow<'_, str> {
    if is_plain(json) {
        return json.into();
    }
    let mut printable = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_hidden(letter) {
            // Writing to a string cannot fail. None of them takes two escapes.
            write!(printable, "\\u{:04x}", u32::from(letter)).ok();
        } else {
            printable.push(letter);
        }
    }
    printable.into()
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn is_hidden(letter: char) -> bool {
    letter.is_control() || is_mark(letter)
}

/// Unseen characters by which a text can look like another.
const fn is_mark(letter: char) -> bool {
    matches!(
        letter,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::{printable, printable_json};

    #[test]
    fn shows_no_hidden_character() {
        assert_eq!(
            printable("a\u{1b}[2J\u{202e}b\u{9b}\n"),
            "a\u{fffd}[2J\u{fffd}b\u{fffd}\u{fffd}"
        );
        assert_eq!(
            printable("Gr\u{fc}\u{df}e \u{65e5}\u{672c}"),
            "Gr\u{fc}\u{df}e \u{65e5}\u{672c}"
        );
    }

    #[test]
    fn keeps_the_value_of_json() {
        let text = "a\u{1b}\u{7f}\u{9b}\"\\\u{61c}\u{202e}\u{feff}\u{fc}\u{1f600}";
        let json = serde_json::json!({ "text": text }).to_string();
        let shown = printable_json(&json);
        assert_eq!(
            shown,
            "{\"text\":\"a\\u001b\\u007f\\u009b\\\"\\\\\\u061c\\u202e\\ufeff\u{fc}\u{1f600}\"}"
        );
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value["text"], text);
        assert_eq!(printable_json("{\"a\": 1}"), "{\"a\": 1}");
    }
}
