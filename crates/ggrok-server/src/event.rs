//! What a relay tells whoever watches it.

use crate::Tunnel;

/// Something that happened at a relay.
///
/// Where a client takes over from an older one, the newer one's `Connected` comes before the older
/// one's `Disconnected`: compare the tunnels, not their names. A tunnel can be called from the moment
/// its handshake is answered, which may be a little before its `Connected`.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client registered: its tunnel can be called.
    Connected(Tunnel),
    /// A client is gone, or said that it will stop. Its tunnel can no longer be called; calls that run
    /// over one that will stop may still finish.
    Disconnected(Tunnel),
}
