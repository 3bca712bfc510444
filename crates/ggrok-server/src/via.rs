//! Via: how a relay signs the requests that it forwards (RFC 9110, section 7.6.3).

use std::str::FromStr;
use std::sync::Arc;

use http::header::VIA;
use http::{HeaderMap, HeaderValue, Version};

/// The name by which a relay signs the requests that it forwards. A request that comes back is known
/// by it, so relays in a row need different ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonym {
    name: Arc<str>,
    /// What is put into Via for a request of HTTP/1.0, of HTTP/1.1 and of HTTP/2.
    entries: [HeaderValue; 3],
}

/// The text is no pseudonym.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pseudonym is made of letters, digits and any of !#$%&'*+-.^_`|~")]
pub struct BadPseudonym;

impl Pseudonym {
    /// Whether a request bears the signature: it has been here before.
    pub(crate) fn has_signed(&self, headers: &HeaderMap) -> bool {
        let mut lists = headers.get_all(VIA).iter().map(HeaderValue::as_bytes);
        lists.any(|list| signers(list).any(|name| name.eq_ignore_ascii_case(self.name.as_bytes())))
    }

    /// Signs a request that came in this version, behind all who have signed it.
    pub(crate) fn sign(&self, headers: &mut HeaderMap, version: Version) {
        let [http_10, http_11, http_2] = &self.entries;
        let entry = match version {
            Version::HTTP_10 => http_10,
            Version::HTTP_2 => http_2,
            _ => http_11,
        };
        headers.append(VIA, entry.clone());
    }
}

impl Default for Pseudonym {
    fn default() -> Self {
        "ggrok".parse().expect("it is a token")
    }
}

impl FromStr for Pseudonym {
    type Err = BadPseudonym;

    fn from_str(name: &str) -> Result<Self, BadPseudonym> {
        let entry = |version| HeaderValue::from_str(&format!("{version} {name}"));
        match (is_token(name), entry("1.0"), entry("1.1"), entry("2.0")) {
            (true, Ok(http_10), Ok(http_11), Ok(http_2)) => Ok(Self {
                name: name.into(),
                entries: [http_10, http_11, http_2],
            }),
            _ => Err(BadPseudonym),
        }
    }
}

/// Whether a text is a token (RFC 9110, section 5.6.2).
pub(crate) fn is_token(text: &str) -> bool {
    let is_mark = |byte| {
        matches!(
            byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~'
        )
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || is_mark(byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// Who has signed, by a list of `PROTOCOL NAME[:PORT] [(COMMENT)]`: the names. A comment may hold
/// commas and whole signatures that are none.
fn signers(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    members(list).filter_map(|member| {
        let mut words = member.split(u8::is_ascii_whitespace);
        let mut words = words.by_ref().filter(|word| !word.is_empty());
        let received_by = words.nth(1)?;
        received_by.split(|byte| *byte == b':').next()
    })
}

/// The members of a list, each up to its comment.
fn members(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if list.is_empty() {
            return None;
        }
        let end = list.iter().position(|byte| matches!(byte, b',' | b'('));
        let (member, rest) = list.split_at(end.unwrap_or(list.len()));
        list = behind_comma(rest);
        Some(member)
    })
}

/// What is behind the first comma that is in no comment. Comments nest, and a backslash takes its
/// meaning from the next byte (RFC 9110, section 5.6.5).
fn behind_comma(list: &[u8]) -> &[u8] {
    let mut depth = 0_usize;
    let mut bytes = list.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b',' if depth == 0 => return &list[at + 1..],
            b'\\' if depth > 0 => drop(bytes.next()),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::{BadPseudonym, Pseudonym};
    use http::header::VIA;
    use http::{HeaderMap, HeaderValue, Version};

    fn via(fields: &[&[u8]]) -> HeaderMap {
        let value = |field: &&[u8]| (VIA, HeaderValue::from_bytes(field).unwrap());
        fields.iter().map(value).collect()
    }

    fn is_known(fields: &[&[u8]]) -> bool {
        Pseudonym::default().has_signed(&via(fields))
    }

    #[test]
    fn knows_its_signature_wherever_it_stands() {
        for field in [
            "1.1 ggrok",
            "1.0 ggrok",
            "HTTP/1.1 ggrok",
            "1.1\t ggrok  (a comment)",
            "1.1 ggrok(a comment)",
            "1.1 Ggrok",
            "1.1 ggrok:8080",
            "1.0 fred, 1.1 ggrok, 1.1 p.example.net",
            ",, 1.1 ggrok",
            "1.1 a (b, (c), \\) \\( d), 1.1 ggrok",
            "1.1 [2001:db8::1]:80 (x), 2.0 ggrok",
        ] {
            assert!(is_known(&[field.as_bytes()]), "{field}");
        }
        assert!(is_known(&[b"1.1 a", b"1.1 b (\xff", b"1.1 ggrok"]));
    }

    #[test]
    fn takes_no_other_for_its_signature() {
        for field in [
            "",
            ",",
            "ggrok",
            "ggrok 1.1",
            "1.1 ggrok2",
            "1.1 a.ggrok",
            "1.1 other (1.1 ggrok)",
            "1.1 other (a, 1.1 ggrok)",
            "1.1 other (a (b), 1.1 ggrok, c), 1.1 another",
            "1.1 other (\\), 1.1 ggrok)",
            "1.1 [::1]:80",
        ] {
            assert!(!is_known(&[field.as_bytes()]), "{field}");
        }
        assert!(!is_known(&[]));
    }

    #[test]
    fn signs_behind_those_before() {
        let mut headers = via(&[b"1.0 fred, 1.1 p"]);
        let name: Pseudonym = "second_relay".parse().unwrap();
        name.sign(&mut headers, Version::HTTP_10);
        name.sign(&mut headers, Version::HTTP_11);
        let lines: Vec<_> = headers.get_all(VIA).iter().collect();
        assert_eq!(
            lines,
            ["1.0 fred, 1.1 p", "1.0 second_relay", "1.1 second_relay"]
        );
        assert!(name.has_signed(&headers));
        assert!(!Pseudonym::default().has_signed(&headers));
    }

    #[test]
    fn takes_tokens_alone_for_pseudonyms() {
        for name in ["", "a b", "a,b", "a:1", "(a)", "\u{e9}", "a\r\nb"] {
            assert_eq!(name.parse::<Pseudonym>(), Err(BadPseudonym), "{name}");
        }
        assert!("relay-2.example.com".parse::<Pseudonym>().is_ok());
    }
}
