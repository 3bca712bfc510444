//! What visitors may ask for: paths that every server reads in the same way.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::BadRules;

/// A path and all below it: `/webhooks` is `/webhooks` and `/webhooks/a`, and not `/webhooksa`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(Arc<str>);

impl PathPrefix {
    /// The path, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the path of a request, without its query, is this one or below it, byte by byte, and
    /// plain: no server reads other segments in it than another.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.as_str());
        let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        is_below && is_plain(path)
    }
}

/// Reads `/webhooks`. A slash at the end says nothing, and `/` alone would: it is no path here.
impl FromStr for PathPrefix {
    type Err = BadRules;

    fn from_str(text: &str) -> Result<Self, BadRules> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let is_path = path.starts_with('/') && text.len() <= LONGEST;
        let is_written_out = |byte: u8| byte.is_ascii_graphic() && !b"?#*\"<>`".contains(&byte);
        if is_path && text.bytes().all(is_written_out) && is_plain(text) {
            Ok(Self(path.into()))
        } else {
            Err(BadRules::Path)
        }
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<PathPrefix> for String {
    fn from(path: PathPrefix) -> Self {
        path.to_string()
    }
}

impl TryFrom<String> for PathPrefix {
    type Error = BadRules;

    fn try_from(text: String) -> Result<Self, BadRules> {
        text.parse()
    }
}

/// Bytes of a path.
const LONGEST: usize = 256;

/// Whether all servers read the same segments in a path, whether they decode it never, once or again,
/// and whatever they take for a slash or a dot. What is not plain may lead elsewhere.
fn is_plain(path: &str) -> bool {
    if !path.split('%').skip(1).all(starts_with_two_digits) {
        return false;
    }
    let slashes = path.matches('/').count();
    let mut read = path.to_owned();
    for _ in 0..ROUNDS {
        if read.matches('/').count() != slashes || !has_plain_segments(&read) {
            return false;
        }
        let Ok(decoded) = percent_decode_str(&read).decode_utf8() else {
            return false;
        };
        if decoded == read {
            return true;
        }
        read = decoded.into_owned();
    }
    false
}

/// How often a path is decoded at most: by a proxy, a server, a framework and an app.
const ROUNDS: usize = 5;

fn starts_with_two_digits(escape: &str) -> bool {
    let digits = escape.as_bytes().get(..2);
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

fn has_plain_segments(path: &str) -> bool {
    let Some(path) = path.strip_prefix('/') else {
        return false;
    };
    if path.contains(|letter: char| letter.is_control() || DOUBTFUL.contains(&letter)) {
        return false;
    }
    let (last, others) = path
        .rsplit_once('/')
        .map_or((path, ""), |(others, last)| (last, others));
    let has_others = last.len() < path.len();
    (last.is_empty() || is_name(last)) && (!has_others || others.split('/').all(is_name))
}

/// Whether a segment is a name, and not a step up, to the same place or to nowhere. Servers of Java cut
/// what follows a semicolon, others what follows a `?` or `#` that they have decoded, Windows cuts dots and
/// spaces at an end, and some drop letters that are not visible. So dots count as a step wherever something
/// else than a letter or digit is beside them.
fn is_name(segment: &str) -> bool {
    let first = segment.split(';').next().unwrap_or_default();
    let is_cut = |letter: char| letter == '.' || letter.is_whitespace();
    if first.trim_matches(is_cut).is_empty() {
        return false;
    }
    let starts_plainly = match segment.find(char::is_alphanumeric) {
        Some(length) => is_plain_start(&segment[..length]),
        None => !segment.contains('.'),
    };
    starts_plainly && !has_dots_alone(segment)
}

/// Whether what precedes the first letter or digit of a segment is no step up or to the same place.
fn is_plain_start(start: &str) -> bool {
    let is_mark = |letter: char| matches!(letter, '-' | '_' | '~');
    match start.matches('.').count() {
        0 => true,
        1 => start.chars().all(|letter| letter == '.' || is_mark(letter)),
        _ => start.chars().all(|letter| letter == '.'),
    }
}

/// Whether two dots or more have neither a letter nor a digit beside them: `a:..` or `a?..`.
fn has_dots_alone(segment: &str) -> bool {
    let mut rest = segment;
    let mut before = None;
    while let Some(at) = rest.find('.') {
        let dots = rest[at..].bytes().take_while(|byte| *byte == b'.').count();
        let left = rest[..at].chars().next_back().or(before);
        let right = rest[at + dots..].chars().next();
        let is_named = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
        if dots > 1 && !is_named(left) && !is_named(right) {
            return true;
        }
        before = Some('.');
        rest = &rest[at + dots..];
    }
    false
}

/// What some take for a slash, a dot or a percent sign: Windows and browsers the backslash, others what
/// Unicode says to be compatible, or looks like it. Then letters that are not visible.
const DOUBTFUL: &[char] = &[
    '\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\\', '\u{2024}', '\u{2025}', '\u{2026}',
    '\u{2044}', '\u{2215}', '\u{2216}', '\u{29f5}', '\u{29f8}', '\u{3002}', '\u{fe19}', '\u{fe30}',
    '\u{fe52}', '\u{fe68}', '\u{fe6a}', '\u{ff05}', '\u{ff0e}', '\u{ff0f}', '\u{ff3c}', '\u{ff61}',
];

#[cfg(test)]
mod tests {
    use super::{BadRules, PathPrefix};
    use proptest::prelude::{prop, proptest};
    use proptest::{prop_assert, sample};

    fn webhooks() -> PathPrefix {
        "/webhooks".parse().unwrap()
    }

    #[test]
    fn contains_itself_and_what_is_below() {
        for path in [
            "/webhooks",
            "/webhooks/",
            "/webhooks/a",
            "/webhooks/a/b.json",
            "/webhooks/..a/b../.well-known/a..b",
            "/webhooks/100%25",
            "/webhooks/caf%C3%A9%20x",
            "/webhooks/a;v=1/b",
            "/webhooks/a:b@c,d+e=f&g$h!i~j(k)'*",
            "/webhooks/%41",
            "/webhooks/webhooks",
            "/webhooks/%3Fx%23",
            "/webhooks/._a/.well-known/.-a/a...",
            "/webhooks/a%20(1..2)/wait...%20(1)",
            "/webhooks/%40a/+1/$x/(a)/[id]/,b",
        ] {
            assert!(webhooks().contains(path), "{path}");
        }
    }

    #[rustfmt::skip]
    const HOSTILE: &[&str] = &[
        // Beside it.
        "", "/", "*", "/webhook", "/webhooksx", "/webhooks.", "/webhooks;", "/webhooks;x=1/a",
        "/Webhooks", "/WEBHOOKS/a", "/admin", "/admin/webhooks", "webhooks", "/webhooks%2f",
        "/%77ebhooks", "/webhooks%00", "/webhooks%20", "/webhooks%2Fa", "/webhooks\\a",
        // Steps up, in all spellings.
        "/webhooks/..", "/webhooks/../", "/webhooks/../admin", "/webhooks/a/../../admin",
        "/webhooks/./../admin", "/webhooks/.", "/webhooks/./a", "/webhooks/%2e%2e/admin",
        "/webhooks/%2E%2E/admin", "/webhooks/.%2e/admin", "/webhooks/%2e./admin",
        "/webhooks/..%2fadmin", "/webhooks/..%2Fadmin", "/webhooks/%2e%2e%2fadmin",
        "/webhooks/..%5cadmin", "/webhooks/..\\admin", "/webhooks/\\..\\admin", "/webhooks/a%5c..",
        "/webhooks/%252e%252e/admin", "/webhooks/..%252fadmin", "/webhooks/%252e%252e%252fadmin",
        "/webhooks/%25252e%25252e/admin", "/webhooks/%2525252e%2525252e/admin",
        "/webhooks/%252525252525252e./admin", "/webhooks/%25%32%65%25%32%65/admin",
        // As parameters of a segment, and with what Windows cuts.
        "/webhooks/..;/admin", "/webhooks/..;x=1/admin", "/webhooks/..%3b/admin",
        "/webhooks/..%253b/admin", "/webhooks/;/../admin", "/webhooks/;x/admin", "/webhooks/.;/a",
        "/webhooks/...", "/webhooks/..%20/admin", "/webhooks/%20../admin", "/webhooks/..../admin",
        "/webhooks/..%09/admin", "/webhooks/.%0a./admin", "/webhooks/..%00/admin", "/webhooks/%7f",
        // Steps up beside what a server may cut, split at or not see.
        "/webhooks/..%3fx", "/webhooks/..%23x", "/webhooks/..%3f/admin", "/webhooks/..%23/admin",
        "/webhooks/..%253fx", "/webhooks/..%2523x", "/webhooks/%2e%2e%3f", "/webhooks/%2e.%23",
        "/webhooks/a/..%3f", "/webhooks/..,/admin", "/webhooks/..%26/admin", "/webhooks/..:/admin",
        "/webhooks/..::$DATA", "/webhooks/..+/admin", "/webhooks/..%7c/admin", "/webhooks/..'/a",
        "/webhooks/..%60/admin", "/webhooks/..%22", "/webhooks/..!x", "/webhooks/..@x", "/webhooks/..=x",
        "/webhooks/%e2%80%8b../admin", "/webhooks/..%e2%80%8b/admin", "/webhooks/.%e2%80%8b./admin",
        "/webhooks/..%ef%bb%bf/admin", "/webhooks/%c2%ad../admin", "/webhooks/..%e2%81%a0x",
        "/webhooks/..%e3%85%a4", "/webhooks/..%cc%80/admin", "/webhooks/,..", "/webhooks/c:..",
        "/webhooks/x%3f..", "/webhooks/x%23../admin", "/webhooks/.%3fx", "/webhooks/.%23", "/webhooks/-..",
        "/webhooks/..&/admin", "/webhooks/..-x", "/webhooks/..~1", "/webhooks/;..", "/webhooks/%3f..",
        // Nothing between two slashes.
        "//webhooks", "///webhooks", "//webhooks/a", "/webhooks//", "/webhooks//a",
        "/webhooks//../admin", "/webhooks/%2f", "/webhooks/%2f%2fevil.example", "/webhooks/a//b",
        "/./webhooks", "/admin/../webhooks", "/%2e/webhooks", "http://a/webhooks",
        // No UTF-8, longer than need be, or what looks alike.
        "/webhooks/%c0%ae%c0%ae/admin", "/webhooks/%c0%afadmin", "/webhooks/%ff", "/webhooks/%e0%80%af",
        "/webhooks/%ef%bc%8e%ef%bc%8e/admin", "/webhooks/..%ef%bc%8fadmin", "/webhooks/%e2%80%a5/admin",
        "/webhooks/..%e2%88%95admin", "/webhooks/..%ef%bc%bcadmin", "/webhooks/%ef%bc%852e",
        // Broken.
        "/webhooks/%", "/webhooks/%2", "/webhooks/%zz", "/webhooks/%u002e%u002e/admin",
        "/webhooks/%%32%65%%32%65/admin", "/webhooks/a%", "/webhooks/\u{85}x", "/webhooks/%c2%85",
    ];

    #[test]
    fn contains_nothing_that_may_be_read_as_something_else() {
        assert!(HOSTILE.len() >= 90);
        for path in HOSTILE {
            assert!(!webhooks().contains(path), "{path}");
        }
    }

    #[test]
    fn is_written_as_in_a_request() {
        for (text, shown) in [("/a", "/a"), ("/a/", "/a"), ("/a/b%20c", "/a/b%20c")] {
            assert_eq!(text.parse::<PathPrefix>().unwrap().to_string(), shown);
        }
        let long = format!("/{}", "a".repeat(256));
        for bad in [
            "",
            "/",
            "a",
            "//",
            "/a//",
            "/a/..",
            "/a/*",
            "/a?b",
            "/a#b",
            "/a b",
            "/caf\u{e9}",
            "/a%2fb",
            "/a%",
            "/a\\b",
            "http://a/b",
            "/a/./b",
            "/a\n",
            &long,
        ] {
            assert_eq!(bad.parse::<PathPrefix>(), Err(BadRules::Path), "{bad:?}");
        }
    }

    /// What a server may make of a path before it looks at it.
    #[derive(Clone, Copy, Debug)]
    struct Server {
        decodes: usize,
        cuts_parameters: bool,
        takes_backslashes: bool,
        merges_slashes: bool,
        trims: bool,
        stops_at_nul: bool,
        splits_off_query: bool,
        drops_invisible: bool,
    }

    impl Server {
        fn all() -> impl Iterator<Item = Self> {
            (0..4 * 128).map(|bits| Self {
                decodes: bits % 4,
                cuts_parameters: bits & 4 > 0,
                takes_backslashes: bits & 8 > 0,
                merges_slashes: bits & 16 > 0,
                trims: bits & 32 > 0,
                stops_at_nul: bits & 64 > 0,
                splits_off_query: bits & 128 > 0,
                drops_invisible: bits & 256 > 0,
            })
        }

        /// The segments that it comes to.
        fn read(self, path: &str) -> Vec<String> {
            let mut path: String = path.to_owned();
            for _ in 0..self.decodes {
                if self.cuts_parameters {
                    path = without_parameters(&path);
                }
                path = lenient(&path);
            }
            if self.cuts_parameters {
                path = without_parameters(&path);
            }
            if self.stops_at_nul {
                path.truncate(path.find('\0').unwrap_or(path.len()));
            }
            if self.splits_off_query {
                path.truncate(path.find(['?', '#']).unwrap_or(path.len()));
            }
            if self.drops_invisible {
                path = path.replace(['\u{200b}', '\u{ad}', '\u{feff}'], "");
            }
            if self.takes_backslashes {
                path = path.replace('\\', "/");
            }
            let mut segments: Vec<String> = Vec::new();
            for segment in path.split('/').skip(1) {
                let cut = match self.trims {
                    true if segment.trim() != ".." && segment.trim() != "." => {
                        segment.trim().trim_end_matches('.')
                    }
                    true => segment.trim(),
                    false => segment,
                };
                match cut {
                    "." => {}
                    ".." => {
                        segments.pop();
                    }
                    "" if self.merges_slashes => {}
                    name => segments.push(name.to_owned()),
                }
            }
            segments
        }
    }

    fn without_parameters(path: &str) -> String {
        let segments = path
            .split('/')
            .map(|segment| segment.split(';').next().unwrap());
        segments.collect::<Vec<_>>().join("/")
    }

    fn lenient(path: &str) -> String {
        let bytes: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
        // Longer forms than need be, as servers read them that do not check.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.replace("\u{fffd}\u{fffd}", "..")
    }

    const PIECES: &[&str] = &[
        "/",
        "/",
        "webhooks",
        "/webhooks",
        "admin",
        ".",
        "..",
        "a",
        "%2e",
        "%2E",
        "%2f",
        "%5c",
        "\\",
        ";",
        ";x=1",
        "%3b",
        "%25",
        "2e",
        "2f",
        "%252e",
        "%00",
        "%20",
        " ",
        "%09",
        "%c0%ae",
        "%",
        "~",
        "%61",
        "//",
        "%3f",
        "%23",
        "%253f",
        "%e2%80%8b",
        "%c2%ad",
        ":",
        ",",
        "&",
    ];

    proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4096))]
        #[test]
        fn leads_nowhere_else_at_any_server(
            pieces in prop::collection::vec(sample::select(PIECES), 0..10),
            inside in prop::bool::ANY,
        ) {
            let start = if inside { "/webhooks/" } else { "" };
            let path = format!("{start}{}", pieces.concat());
            if webhooks().contains(&path) {
                for server in Server::all() {
                    let read = server.read(&path);
                    let first = read.first().map(String::as_str);
                    prop_assert!(first == Some("webhooks"), "{path} is {read:?} at {server:?}");
                }
            }
        }
    }
}
