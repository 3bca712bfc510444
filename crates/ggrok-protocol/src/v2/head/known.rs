//! Lists of fields that are known: most heads of a tunnel have the same names in the same order as one
//! before them, and most of the same values. To compare takes a fraction of what it takes to read.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::json::{Reader, value_of};

/// The lists of a tunnel that were read last, the latest first.
#[derive(Default)]
pub(crate) struct Known(Vec<List>);

/// A list that was read.
struct List {
    /// As it was written, of which this is a slice.
    text: Bytes,
    pairs: Vec<Pair>,
    /// What it says, in the order in which it says it.
    fields: HeaderMap,
}

/// Where a pair is in its list. It begins where the one before ends, or behind the list's bracket.
struct Pair {
    /// Where the value's first quote is.
    value: usize,
    /// What is behind the pair's bracket and the comma, or the list's bracket, that follows.
    end: usize,
}

/// Shows none of them: they are of other calls than whoever prints one, and may hold what is secret there.
impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Known {
    /// Reads the list that a text begins with, where its names are those of a known one. Returns what
    /// comes behind it too.
    pub(super) fn read<'a>(
        &mut self,
        text: &'a str,
        message: &Bytes,
    ) -> Option<(HeaderMap, &'a str)> {
        let lists = self.0.iter().enumerate();
        let (at, read) = lists
            .filter_map(|(at, list)| Some((at, list.read(text, message)?)))
            .next()?;
        self.0[..=at].rotate_right(1);
        Some(read)
    }

    /// Keeps a list that was read, in the place of the one that was of no use for longest.
    pub(super) fn learn(&mut self, text: &str, message: &Bytes, fields: &HeaderMap) {
        if message.len() > LONGEST || fields.len() > MOST_FIELDS {
            return;
        }
        let Some(pairs) = pairs(text, fields) else {
            return;
        };
        self.0.truncate(LISTS - 1);
        let list = List {
            text: message.slice_ref(text.as_bytes()),
            pairs,
            fields: fields.clone(),
        };
        self.0.insert(0, list);
    }

    /// Gives the memory back.
    pub(crate) fn forget(&mut self) {
        self.0 = Vec::new();
    }
}

impl List {
    fn read<'a>(&self, text: &'a str, message: &Bytes) -> Option<(HeaderMap, &'a str)> {
        let mut rest = text.as_bytes().strip_prefix(b"[")?;
        let mut changed = Vec::new();
        let mut start = 1;
        for (index, &Pair { value, end }) in self.pairs.iter().enumerate() {
            if let Some(behind) = rest.strip_prefix(&self.text[start..end]) {
                rest = behind;
            } else {
                rest = rest.strip_prefix(&self.text[start..value])?;
                let mut json = Reader::new(&text[text.len() - rest.len()..]);
                let other = value_of(message, json.string().ok()?).ok()?;
                changed.push((index, other));
                rest = json.rest().as_bytes();
                rest = rest.strip_prefix(&self.text[end - END..end])?;
            }
            start = end;
        }
        let mut fields = self.fields.clone();
        let mut values = fields.values_mut();
        let mut passed = 0;
        for (index, other) in changed {
            *values.nth(index - passed)? = other;
            passed = index + 1;
        }
        Some((fields, text[text.len() - rest.len()..].trim_ascii_start()))
    }
}

/// Finds the pairs of a list that is written as our own writer does it, and whose fields the map has in
/// the same order.
fn pairs(text: &str, fields: &HeaderMap) -> Option<Vec<Pair>> {
    let mut pairs = Vec::with_capacity(fields.len());
    let mut rest = text.strip_prefix('[')?;
    for name in fields.iter().map(|(name, _)| name) {
        rest = value_behind(name, rest)?;
        let value = text.len() - rest.len();
        let mut json = Reader::new(rest);
        json.string().ok()?;
        let is_last = pairs.len() + 1 == fields.len();
        rest = json
            .rest()
            .strip_prefix(if is_last { "]]" } else { "]," })?;
        let end = text.len() - rest.len();
        pairs.push(Pair { value, end });
    }
    (!pairs.is_empty()).then_some(pairs)
}

/// What is behind a pair's name, where that is the next, written as our own writer does it.
fn value_behind<'a>(name: &HeaderName, text: &'a str) -> Option<&'a str> {
    let text = text.strip_prefix("[\"")?.strip_prefix(name.as_str())?;
    text.strip_prefix("\",")
        .filter(|text| text.starts_with('"'))
}

/// Lists that are kept: documents, what they load, and what their scripts ask for have different ones.
const LISTS: usize = 4;

/// Bytes of a head whose list is kept, since the list keeps all of it.
const LONGEST: usize = 8 << 10;

/// Fields of a list that is kept.
const MOST_FIELDS: usize = 64;

/// Bytes behind a value: its pair's bracket, and a comma or the list's bracket.
const END: usize = 2;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::super::json::{Reader, put_fields};
    use super::{Known, LISTS, LONGEST};

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields.iter();
        let pairs = pairs.map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        // One that collects keeps the last of two values.
        pairs.fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    fn text(fields: &HeaderMap) -> Bytes {
        let mut text = Vec::new();
        put_fields(&mut text, fields);
        text.extend(b",\"expect\":true}");
        text.into()
    }

    /// Whether a list is like a known one; then it has to be read as if it were not.
    fn is_known(known: &mut Known, message: &Bytes) -> bool {
        let text = str::from_utf8(message).unwrap();
        let read = known.read(text, message);
        let mut plainly = Reader::new(text);
        let fields = plainly.fields(message).unwrap();
        let is_known = read.is_some();
        if let Some(read) = read {
            assert_eq!(read, (fields, plainly.rest()));
        }
        is_known
    }

    fn learn(known: &mut Known, message: &Bytes) {
        let text = str::from_utf8(message).unwrap();
        let fields = Reader::new(text).fields(message).unwrap();
        known.learn(text, message, &fields);
    }

    #[test]
    fn knows_a_list_of_the_same_names_whatever_their_values() {
        let mut known = Known::default();
        let first = [("host", "a"), ("etag", "\"x\""), ("x-id", "1")];
        learn(&mut known, &text(&map(&first)));
        for fields in [
            [("host", "a"), ("etag", "\"x\""), ("x-id", "1")],
            [("host", "a"), ("etag", "\"x\""), ("x-id", "2")],
            [("host", "a\\b"), ("etag", "\"x\",\"y\""), ("x-id", "")],
            [("host", "abc"), ("etag", "W/\"\""), ("x-id", "\t\"")],
        ] {
            assert!(is_known(&mut known, &text(&map(&fields))), "{fields:?}");
        }
        for fields in [
            &[][..],
            &first[..2],
            &[("host", "a"), ("x-id", "1"), ("etag", "\"x\"")],
            &[("host", "a"), ("etag", "\"x\""), ("x-idea", "1")],
            &[("host", "a"), ("etag", "\"x\""), ("x-id", "1"), ("b", "c")],
        ] {
            assert!(!is_known(&mut known, &text(&map(fields))), "{fields:?}");
        }
    }

    #[test]
    fn gives_each_of_several_values_its_place() {
        let mut known = Known::default();
        let cookies = |[first, second]: [&'static str; 2]| {
            text(&map(&[
                ("set-cookie", first),
                ("set-cookie", second),
                ("a", "b"),
            ]))
        };
        learn(&mut known, &cookies(["a=1", "b=1"]));
        assert!(is_known(&mut known, &cookies(["a=2", "b=1"])));
        assert!(is_known(&mut known, &cookies(["a=1", "b=2"])));
        // As no map gives them: it has them one after the other.
        let apart = Bytes::from_static(br#"[["a","1"],["b","2"],["a","3"]]"#);
        learn(&mut known, &apart);
        assert!(!is_known(&mut known, &apart));
    }

    #[test]
    fn leaves_to_the_reader_what_is_no_list() {
        let mut known = Known::default();
        learn(&mut known, &text(&map(&[("a", "b"), ("c", "d")])));
        for list in [
            "",
            "[",
            r#"[["a","b"]]"#,
            r#"[["a","b"],["c","d"]"#,
            r#"[["a","b"],["c","d"],"#,
            r#"[["a","b"],["c","\n"]]"#,
            r#"[["a","b"],["c","d","e"]]"#,
            r#"[["a",1],["c","d"]]"#,
        ] {
            let message = Bytes::from(list);
            assert!(known.read(list, &message).is_none(), "{list}");
        }
    }

    #[test]
    fn forgets_what_was_of_no_use_for_longest() {
        let mut known = Known::default();
        let lists: Vec<Bytes> = ["a", "b", "c", "d", "e"]
            .map(|name| text(&map(&[(name, "1")])))
            .into();
        assert_eq!(lists.len(), LISTS + 1);
        for list in &lists[..LISTS] {
            learn(&mut known, list);
        }
        assert!(is_known(&mut known, &lists[0]));
        learn(&mut known, &lists[LISTS]);
        let kept: Vec<bool> = lists
            .iter()
            .map(|list| is_known(&mut known, list))
            .collect();
        assert_eq!(kept, [true, false, true, true, true]);
        known.forget();
        assert!(!is_known(&mut known, &lists[0]));
    }

    #[test]
    fn shows_nobody_what_it_keeps() {
        let mut known = Known::default();
        learn(&mut known, &text(&map(&[("cookie", "secret")])));
        assert_eq!(format!("{known:?}"), "Known { .. }");
    }

    #[test]
    fn keeps_no_long_list() {
        let mut known = Known::default();
        let long = "x".repeat(LONGEST);
        let message = Bytes::from(format!("[[\"a\",\"{long}\"]]"));
        learn(&mut known, &message);
        assert!(!is_known(&mut known, &message));
    }

    fn lists() -> impl Strategy<Value = Vec<HeaderMap>> {
        let field = ("[ab]", "[ab\"\\\\\t\u{e9}]{0,2}");
        let list = prop::collection::vec(field, 0..4).prop_map(|fields| {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                map.append(name, HeaderValue::from_str(&value).unwrap());
            }
            map
        });
        prop::collection::vec(list, 1..20)
    }

    proptest! {
        #[test]
        fn reads_what_is_known_as_if_it_were_not(lists in lists()) {
            let mut known = Known::default();
            for list in &lists {
                let message = text(list);
                if !is_known(&mut known, &message) {
                    learn(&mut known, &message);
                }
            }
        }
    }
}
