//! Patterns of hosts and names, by which a token says what its owner may have.

use std::fmt;
use std::str::FromStr;

/// A text in which at most one `*` stands for any text: `*`, `app.example.com`, `*.ana.example.com`
/// or `ana-*`. Letters match whatever their case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    start: String,
    /// What stands behind the `*`, where there is one.
    end: Option<String>,
}

/// The text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is a text with at most one '*'")]
pub struct BadPattern;

impl Pattern {
    /// Matches everything.
    #[must_use]
    pub const fn any() -> Self {
        Self {
            start: String::new(),
            end: Some(String::new()),
        }
    }

    /// The one text that it matches, where it is one.
    pub(crate) fn exact(&self) -> Option<&str> {
        self.end.is_none().then_some(&self.start)
    }

    /// Whether the pattern matches a text in lower case.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match &self.end {
            None => text == self.start,
            Some(end) => text
                .strip_prefix(self.start.as_str())
                .is_some_and(|rest| rest.ends_with(end.as_str())),
        }
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(pattern: &str) -> Result<Self, BadPattern> {
        let pattern = pattern.to_ascii_lowercase();
        let (start, end) = match pattern.split_once('*') {
            Some((start, end)) => (start, Some(end)),
            None => (pattern.as_str(), None),
        };
        if pattern.is_empty() || end.is_some_and(|end| end.contains('*')) {
            return Err(BadPattern);
        }
        Ok(Self {
            start: start.to_owned(),
            end: end.map(str::to_owned),
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.start)?;
        match &self.end {
            Some(end) => write!(f, "*{end}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPattern, Pattern};

    #[test]
    fn matches_with_one_star_at_most() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a.example", true),
            ("App.example", "app.example", true),
            ("app.example", "app.example.evil", false),
            ("app.example", "evil.app.example", false),
            ("*.ana.example", "a.b.ana.example", true),
            ("*.ana.example", "ana.example", false),
            ("*.ana.example", "evilana.example", false),
            ("ana-*", "ana-", true),
            ("ana-*-x", "ana-x", false),
            ("ana-*-x", "ana--x", true),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(text), expected, "{pattern} {text}");
            assert_eq!(parsed.to_string(), pattern.to_ascii_lowercase());
        }
        for bad in ["", "**", "a*b*"] {
            assert_eq!(bad.parse::<Pattern>(), Err(BadPattern), "{bad}");
        }
    }
}
