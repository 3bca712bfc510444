//! How much, how many and how long: the bounds of one tunnel.

use std::time::Duration;

use crate::Dialect;

/// The bounds of one tunnel. Each end enforces its own.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one request or response body that a dialect without streaming will hold.
    pub body: usize,
    /// Bytes of all bodies that one end holds for one tunnel. Without streaming, a call whose
    /// request or response does not fit is refused. With streaming, it is what the windows of all
    /// calls may come to.
    pub held: usize,
    /// The largest window of one streamed body, in bytes. Windows start at 64 KiB and grow for a
    /// fast reader; over a long way the window must cover what one round trip can carry.
    pub window: usize,
    /// The largest WebSocket message, in bytes, that is read in a dialect that streams. A frame of
    /// data is at most 64 KiB, so this bounds heads.
    pub frame: usize,
    /// Calls of one tunnel, waiting or running; beyond it a call is refused. With streaming, one that
    /// waits for a client that does not read is none yet.
    pub calls: usize,
    /// How long a call may take in a dialect without streaming, from its last request byte to its
    /// whole response. Then the relay ends the tunnel, since order is all that such a dialect has;
    /// so the client, which only refuses that response, should have a little less.
    pub call_timeout: Duration,
    /// How long a response may take to start in a dialect that streams. Then only the call ends.
    pub answer_timeout: Duration,
    /// How long a streamed body may pause, because either side does: one that takes nothing, or one
    /// that says nothing while the other body of the call is quiet too. Not for upgraded connections.
    pub stream_idle: Duration,
    /// How long a visitor may be silent while it sends a request body.
    pub body_idle: Duration,
    /// How often each end pings. Platform routers cut a WebSocket after 55 s of silence.
    pub ping_every: Duration,
    /// Silence after which the peer is taken for dead.
    pub dead_after: Duration,
    /// How often a client pings in a dialect that streams. It alone can dial again, so it should notice
    /// soon that the connection is lost.
    pub client_ping_every: Duration,
    /// How long the pong to such a ping may take while nothing else arrives. Data that were sent before
    /// the ping add the time that a slow link needs for them, up to [`dead_after`](Self::dead_after).
    pub client_pong_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 10 << 20,
            held: 64 << 20,
            window: 1 << 20,
            frame: 1 << 20,
            calls: 1000,
            // Heroku's router gives up after 30 s, and tells the visitor nothing of use.
            call_timeout: Duration::from_secs(28),
            // Long polls are common; a platform's router has its own, shorter limit.
            answer_timeout: Duration::from_secs(300),
            stream_idle: Duration::from_secs(300),
            body_idle: Duration::from_secs(28),
            ping_every: Duration::from_secs(15),
            dead_after: Duration::from_secs(40),
            client_ping_every: Duration::from_secs(5),
            // Time for TCP to send again what a radio link lost.
            client_pong_timeout: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The largest WebSocket message, in bytes, that a relay with these limits should read. In
    /// ggrok's dialect it holds a body in base64, in magic-mirror's in base64 twice, otherwise a
    /// frame.
    #[must_use]
    pub const fn response_message(&self, dialect: Dialect) -> usize {
        match dialect {
            Dialect::V2 => self.frame,
            Dialect::Ggrok => base64(self.body).saturating_add(HEAD),
            Dialect::MagicMirror => base64(base64(self.body).saturating_add(HEAD)),
        }
    }

    /// The largest WebSocket message, in bytes, that a client with these limits should read. In
    /// ggrok's dialect it holds a body as JSON text, where one byte may take six (`\u0001`), in
    /// magic-mirror's in base64 twice, otherwise a frame.
    #[must_use]
    pub const fn request_message(&self, dialect: Dialect) -> usize {
        match dialect {
            Dialect::V2 => self.frame,
            Dialect::Ggrok => self.body.saturating_mul(6).saturating_add(HEAD),
            Dialect::MagicMirror => base64(base64(self.body).saturating_add(HEAD)),
        }
    }

    /// The bytes that [`held`](Self::held) comes to: never less than two of the largest bodies,
    /// or one call could wait for itself.
    pub(crate) fn held_bytes(&self) -> u32 {
        let bytes = self.held.max(self.body.saturating_mul(2));
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// The length of so many bytes in base64.
const fn base64(bytes: usize) -> usize {
    bytes.div_ceil(3).saturating_mul(4)
}

/// Room for a head in an envelope: more than any HTTP server takes.
const HEAD: usize = 1 << 20;
