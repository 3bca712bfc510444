//! What of a text may be shown: a URL in it may hold a password.

/// A text in which three dots stand for what URLs have before an `@`: a user and a password (RFC 3986,
/// section 3.2.1).
pub(crate) fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('@') {
        shown.push_str(&before[..start(before)]);
        shown.push_str("...@");
        rest = behind;
    }
    shown + rest
}

/// Where a user begins that ends at the text's end: behind the two slashes, or what sets a word apart.
/// A password may have a slash in it where somebody did not escape it.
fn start(text: &str) -> usize {
    let sets_apart = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '=');
    let last = text.char_indices().rfind(|(_, c)| sets_apart(*c));
    let word = last.map_or(0, |(at, c)| at + c.len_utf8());
    let scheme = text[word..].find("://").map(|colon| word + colon + 3);
    scheme.unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::without_passwords;

    #[test]
    fn shows_no_user_of_a_url() {
        for (text, shown) in [
            ("nothing to hide", "nothing to hide"),
            ("\"wss://ana:s3cret@h\" is none", "\"wss://...@h\" is none"),
            ("'ana:s3cret@h/p?q'", "'...@h/p?q'"),
            ("ana:s3/cr//et@h", "...@h"),
            ("ws://ana:s3/cr//et@h", "ws://...@h"),
            ("a@b wss://c:s3cret@d", "...@b wss://...@d"),
            ("--server=wss://c:s3@cret@d", "--server=wss://...@...@d"),
            ("\u{fc}\u{a0}x:s3cret@h", "\u{fc}\u{a0}...@h"),
        ] {
            assert_eq!(without_passwords(text), shown, "{text}");
        }
    }
}
