//! The dialects that a tunnel can speak.

use std::fmt;

/// Where a client registers: a WebSocket handshake at this path of the relay. The Host of that
/// handshake is the host that the client serves.
pub const REGISTER_PATH: &str = "/$$ggrok";

/// What is spoken over a tunnel's WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// ggrok's own: one JSON envelope each way, one call at a time.
    Ggrok,
}

impl Dialect {
    /// Every dialect that there is.
    pub const ALL: &[Self] = &[Self::Ggrok];
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ggrok => f.write_str("ggrok"),
        }
    }
}
