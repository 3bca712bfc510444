//! What a relay tells whoever watches it.

use crate::Tunnel;

/// Something that happened at a relay.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client registered: its tunnel can be called.
    Connected(Tunnel),
    /// A client is gone. Its tunnel can no longer be called.
    Disconnected(Tunnel),
}
