//! Other people's words, as they may be shown at a terminal.

use std::borrow::Cow;

/// A text without what writes to a terminal or turns its lines around: control characters, and the
/// marks of direction that Unicode has.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    let is_hidden = |letter: char| letter.is_control() || is_mark(letter);
    text.replace(is_hidden, "\u{fffd}").into()
}

/// Unseen characters by which a text can look like another.
const fn is_mark(letter: char) -> bool {
    matches!(
        letter,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::printable;

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
}
