//! What a client tells whoever watches it.

use std::time::Duration;

use ggrok_protocol::{BodyLength, Broken};
use http::{Method, StatusCode};

use crate::{HostCheck, LocalAddress};

/// Something that happened to a client.
#[derive(Debug)]
pub enum Event {
    /// The relay let the client in: visitors are served at this address from now on.
    Ready {
        /// What visitors open.
        url: String,
    },
    /// Visitors cannot open the address of the [`Ready`](Self::Ready) before, though the client asked for
    /// one that they can: the relay gives names no hosts. Its owner's programs reach it by the relay's API.
    NotPublic {
        /// Whether there are rules for visitors, which do not apply to those programs.
        has_rules: bool,
    },
    /// Nothing answers at the local server's address. Visitors will be told so.
    LocalDown {
        /// Where nothing answers.
        address: LocalAddress,
    },
    /// The local server refused a request for a reason that a setting resolves. It is reported once for
    /// each kind.
    HostRefused {
        /// Whose check it was.
        check: HostCheck,
        /// The host that the request was for.
        host: String,
        /// The setting that helps.
        remedy: &'static str,
    },
    /// A call was answered.
    Answered {
        /// The request's method.
        method: Method,
        /// The request's path, without its query, which may hold secrets.
        path: String,
        /// The response's status.
        status: StatusCode,
        /// From the request's arrival to the response's end.
        elapsed: Duration,
        /// Why the local server gave no response, or why the response's body ended before its end,
        /// unless that was the visitor's doing.
        error: Option<String>,
        /// A stable word for that, and for a visitor who left or stalled.
        code: Option<&'static str>,
        /// How much of the response's body came from the local server.
        length: BodyLength,
        /// Who ended the response's body before its end.
        broken: Option<Broken>,
    },
    /// The client was asked to stop while visitors wait for answers, and gives them; or while they had
    /// upgraded connections alone, which it closes.
    Finishing {
        /// How long it may take for that.
        at_most: Duration,
    },
    /// The relay does not answer at once; the client waits on. It is told in the first attempt alone.
    Connecting {
        /// The host and the port that are dialled, and through which proxy.
        to: String,
    },
    /// There is no tunnel at the moment.
    Waiting {
        /// Why not.
        reason: String,
        /// The attempts to connect that have failed since there was a tunnel: 0 where it has just been lost.
        attempts: u32,
        /// When the relay is dialled again.
        retry_in: Duration,
    },
}
