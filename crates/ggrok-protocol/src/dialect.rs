//! The dialects that a tunnel can speak.

use std::fmt;

use http::HeaderValue;

/// What is spoken over a tunnel's WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// `ggrok.v2`: many calls at once, streamed.
    V2,
    /// ggrok's own: one JSON envelope each way, one call at a time.
    Ggrok,
    /// magic-mirror's own: the same with other envelopes.
    MagicMirror,
}

impl Dialect {
    /// Every dialect that there is, best first.
    pub const ALL: &[Self] = &[Self::V2, Self::Ggrok, Self::MagicMirror];

    /// The WebSocket subprotocol by which a dialect is offered and chosen (RFC 6455, section 1.9).
    /// The Go programs have none: theirs is what is spoken where nothing is chosen.
    #[must_use]
    pub const fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::V2 => Some("ggrok.v2"),
            Self::Ggrok | Self::MagicMirror => None,
        }
    }

    /// The dialect of a handshake that chose this subprotocol; where it chose none, it is the
    /// `original` that has always been spoken there.
    #[must_use]
    pub fn chosen(subprotocol: Option<&HeaderValue>, original: Self) -> Self {
        let chosen = |dialect: &&Self| {
            let name = dialect.subprotocol();
            name.is_some_and(|name| subprotocol.is_some_and(|chosen| chosen == name))
        };
        let dialect = Self::ALL.iter().find(chosen);
        dialect.copied().unwrap_or(original)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "ggrok.v2",
            Self::Ggrok => "ggrok",
            Self::MagicMirror => "magic-mirror",
        })
    }
}
