//! A request target in an envelope: its path and query, and nothing that leads elsewhere.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

use crate::{DecodeError, EncodeError};

/// Gives the target of a request in origin form, or `*`. A path with a broken percent escape is
/// refused, as Go's URL parser refuses it: that ends ggrok's own client, and magic-mirror's answers
/// nothing.
pub(super) fn write(uri: &Uri) -> Result<&str, EncodeError> {
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = target.split('?').next().unwrap_or_default();
    if path.split('%').skip(1).all(starts_with_two_digits) {
        Ok(target)
    } else {
        Err(EncodeError::Escape)
    }
}

fn starts_with_two_digits(escape: &str) -> bool {
    let digits = escape.as_bytes().get(..2);
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// Reads a target, which loses its scheme and authority where it has them: a client replays to one
/// local server, whatever a relay sends.
pub(super) fn read(target: &str) -> Result<Uri, DecodeError> {
    let invalid = |error: http::uri::InvalidUri| DecodeError::Invalid(error.into());
    let target = escape(target);
    // Parsed as a path first, since `//x` would otherwise be one or the other by chance.
    if target.starts_with('/') || target == "*" {
        let path = PathAndQuery::try_from(target.as_ref()).map_err(invalid)?;
        return Ok(path.into());
    }
    let absolute = Uri::try_from(target.as_ref()).map_err(invalid)?;
    if absolute.scheme().is_none() {
        return Err(DecodeError::Target);
    }
    // A URL may have no path, and its text has one all the same.
    let path = absolute.path_and_query().map(ToString::to_string);
    let path = PathAndQuery::try_from(path.as_deref().unwrap_or("/")).map_err(invalid)?;
    Ok(path.into())
}

/// Writes in percent form what the URI type refuses and the original relays let pass. A path may
/// have quotes there and a query backticks, and they stay.
fn escape(target: &str) -> Cow<'_, str> {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let in_path: &[char] = &['<', '>', '`'];
    let in_query: &[char] = &['<', '>', '"'];
    if !path.contains(in_path) && !query.contains(in_query) {
        return target.into();
    }
    let mut escaped = String::with_capacity(target.len() + 8);
    for (part, refused) in [(path, in_path), (query, in_query)] {
        for letter in part.chars() {
            if refused.contains(&letter) {
                escaped.push_str(&format!("%{:02X}", u32::from(letter)));
            } else {
                escaped.push(letter);
            }
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::{read, write};

    #[test]
    fn reduces_a_target_to_its_path_and_query() {
        for (sent, replayed) in [
            ("/a?b=c", "/a?b=c"),
            ("//a/../b%2F?", "//a/../b%2F?"),
            ("http://evil.example:80/abs?q", "/abs?q"),
            ("http://evil.example", "/"),
            ("http://evil.example?q", "/?q"),
            ("http://evil.example/a#b", "/a"),
            ("/a`b?q=\"<r>\"", "/a%60b?q=%22%3Cr%3E%22"),
            ("/\"a\"?`b`", "/\"a\"?`b`"),
            ("*", "*"),
        ] {
            let uri = read(sent).unwrap();
            assert_eq!(uri.to_string(), replayed);
            assert_eq!(write(&uri), Ok(replayed));
            assert_eq!(uri.authority(), None);
        }
        for target in ["", "@evil", "evil.example:80", "\\\\evil", "http:///x y"] {
            assert!(read(target).is_err(), "{target}");
        }
    }
}
