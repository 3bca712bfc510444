//! What can go wrong on a tunnel: with one call, with its envelope, with the whole session.

use std::fmt;

use http::{HeaderName, Method};

use crate::Ending;

/// Why a [`Tunnel::call`](crate::Tunnel::call) has no response.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The tunnel ended before the response came.
    #[error("the tunnel closed")]
    Closed,
    /// The client is about to stop, and takes no new calls. Nothing was sent.
    #[error("the client is about to stop")]
    GoingAway,
    /// No response in [`Limits::call_timeout`](crate::Limits::call_timeout) or
    /// [`Limits::answer_timeout`](crate::Limits::answer_timeout), or nothing of the request body was
    /// taken for [`Limits::stream_idle`](crate::Limits::stream_idle).
    #[error("the client did not answer in time")]
    TimedOut,
    /// [`Limits::calls`](crate::Limits::calls) are under way.
    #[error("too many calls are under way on this tunnel")]
    TooManyCalls,
    /// [`Limits::held`](crate::Limits::held) bytes are held.
    #[error("the tunnel holds too many bytes of other calls")]
    TooManyBytes,
    /// The request's head is over the limit of the tunnel. Nothing was sent.
    #[error("the request's head is over the limit of the tunnel")]
    RequestHeadTooLarge,
    /// The response's head is over the limit of the tunnel.
    #[error("the response's head is over the limit of the tunnel")]
    ResponseHeadTooLarge,
    /// The request body is over [`Limits::body`](crate::Limits::body).
    #[error("the request body is over the limit of this tunnel")]
    BodyTooLarge,
    /// The client's answer is a message over the limit, which ends the tunnel too.
    #[error("the client's answer is over the limit of this tunnel")]
    AnswerTooLarge,
    /// The request body stalled for [`Limits::body_idle`](crate::Limits::body_idle) or
    /// [`Limits::stream_idle`](crate::Limits::stream_idle).
    #[error("the request body stalled")]
    BodyStalled,
    /// The request body broke off.
    #[error("the request body broke off: {0}")]
    BodyBroken(String),
    /// The client gave the call up.
    #[error("the client reset the call: {0}")]
    Reset(ResetCode),
    /// The dialect cannot carry this request.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The client's answer is no valid response.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What a dialect cannot carry. It refuses, and never alters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A protocol upgrade, such as a WebSocket.
    #[error("this tunnel carries no upgrades")]
    Upgrade,
    /// A body that is not UTF-8, where bodies are JSON text.
    #[error("this tunnel carries no request body that is not UTF-8")]
    BodyNotText,
    /// A field value that is not UTF-8, where fields are JSON text.
    #[error("this tunnel carries no field value that is not UTF-8: {0}")]
    FieldNotText(HeaderName),
    /// A path with a broken percent escape, which the Go programs cannot parse.
    #[error("this tunnel carries no path with a broken percent escape")]
    Escape,
    /// The target `*` of an OPTIONS request (RFC 9112, section 3.2.4), where targets are URLs.
    #[error("this tunnel carries no request about a whole server")]
    Asterisk,
}

/// Why a message of the peer is no request or response.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The message is not the JSON envelope that the dialect has.
    #[error("no envelope: {0}")]
    Envelope(#[from] serde_json::Error),
    /// The envelope or its body is not base64, where the dialect has it so.
    #[error("no base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// The HTTP text in the envelope does not parse.
    #[error("no HTTP request in the envelope: {0}")]
    Http(#[from] httparse::Error),
    /// The HTTP text in the envelope breaks off.
    #[error("the HTTP request in the envelope breaks off")]
    Cut,
    /// The method, target, status or a field is not valid.
    #[error("invalid HTTP in the envelope: {0}")]
    Invalid(#[from] http::Error),
    /// The head is not the JSON that ggrok.v2 has, or has too many fields.
    #[error("the head is no JSON of method or status and fields, or has too many of them")]
    Head,
    /// The target is neither a path nor a URL.
    #[error("the target in the envelope is neither a path nor a URL")]
    Target,
    /// The head is over the limit of the tunnel.
    #[error("the head in the envelope is over the limit")]
    HeadTooLarge,
    /// A client does not replay this method: CONNECT opens a tunnel through whatever serves it, and TRACE
    /// returns fields that pages may not read (RFC 9110, sections 9.3.6 and 9.3.8).
    #[error("a request of the method {0} is not replayed")]
    Method(Method),
    /// The envelope holds no final status.
    #[error("status {0} is not a final one")]
    Status(u16),
    /// The body is shorter or longer than it was announced: it was damaged on its way.
    #[error("the body has {actual} bytes and was announced with {announced}")]
    BodyLength {
        /// Bytes by Content-Length.
        announced: String,
        /// Bytes that came.
        actual: usize,
    },
    /// The client could not read the local server's response to its end.
    #[error("the response in the envelope broke off")]
    BrokenOff,
    /// The body's chunks do not parse (RFC 9112, section 7.1).
    #[error("the chunked body in the envelope is broken")]
    Chunks,
}

impl DecodeError {
    /// Whether the peer does not speak the dialect at all, so that the tunnel must end. Other
    /// errors are about the HTTP inside one envelope and cost that call alone.
    #[must_use]
    pub const fn is_violation(&self) -> bool {
        matches!(self, Self::Envelope(_) | Self::Base64(_))
    }
}

/// Why a [`Session`](crate::Session) failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The WebSocket failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The peer was silent for [`Limits::dead_after`](crate::Limits::dead_after), or did not answer a ping.
    #[error("the peer was silent for too long")]
    Dead,
    /// A message of the peer began, and did not come whole in time.
    #[error("the peer did not finish a message in time")]
    Unfinished,
    /// The peer did not take what was written to it.
    #[error("the peer does not read")]
    Stalled,
    /// A call was not answered in time, which in a dialect that has only order ends the tunnel.
    #[error("a call was not answered in time")]
    CallTimedOut,
    /// A message came when it was not the peer's turn: an answer that nobody asked for, or a
    /// second request before the first was answered.
    #[error("the peer sent a message out of turn")]
    OutOfTurn,
    /// The peer sent a message that is no frame.
    #[error("the peer sent a message that is no frame")]
    NoFrame,
    /// The peer sent a frame that breaks the rules: over its window, behind the end of a body, or
    /// with an id that is not new.
    #[error("the peer broke the rules of a call")]
    Violation,
    /// The peer sent something that is no envelope of the dialect.
    #[error("the peer sent a message that is {0}")]
    NoEnvelope(String),
}

impl SessionError {
    /// What the peer is told in the close frame.
    pub(crate) const fn ending(&self) -> Ending {
        match self {
            Self::Transport(TransportError::TooBig) => Ending::TooBig,
            Self::Transport(TransportError::Violation(_) | TransportError::OutOfTurn)
            | Self::OutOfTurn
            | Self::NoEnvelope(_)
            | Self::NoFrame
            | Self::Violation => Ending::Violation,
            Self::CallTimedOut => Ending::TimedOut,
            Self::Transport(TransportError::Lost(_))
            | Self::Dead
            | Self::Unfinished
            | Self::Stalled => Ending::GoingAway,
        }
    }
}

/// Why a streamed body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The other side gave it up.
    #[error("the other side reset the call: {0}")]
    Reset(ResetCode),
    /// The tunnel ended.
    #[error("the tunnel closed")]
    Closed,
}

/// Why one side gives a call up before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetCode {
    /// Nobody wants it any more: the visitor left.
    Cancelled,
    /// The local server broke off.
    Broken,
    /// There are too many calls, or bytes.
    Refused,
    /// The head does not parse.
    Malformed,
    /// The call was dropped without an answer.
    Unanswered,
    /// A body stalled.
    TimedOut,
    /// Any other code.
    Other(u16),
}

impl ResetCode {
    /// Reads the code of a Reset frame.
    pub(crate) const fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Cancelled,
            2 => Self::Broken,
            3 => Self::Refused,
            4 => Self::Malformed,
            5 => Self::Unanswered,
            6 => Self::TimedOut,
            other => Self::Other(other),
        }
    }

    /// The code of the Reset frame.
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Cancelled => 1,
            Self::Broken => 2,
            Self::Refused => 3,
            Self::Malformed => 4,
            Self::Unanswered => 5,
            Self::TimedOut => 6,
            Self::Other(number) => number,
        }
    }
}

impl fmt::Display for ResetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("cancelled"),
            Self::Broken => f.write_str("broken off"),
            Self::Refused => f.write_str("refused"),
            Self::Malformed => f.write_str("malformed"),
            Self::Unanswered => f.write_str("unanswered"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Other(number) => write!(f, "code {number}"),
        }
    }
}

/// Why a [`Transport`](crate::Transport) failed.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A message began when none was due: see [`SessionError::OutOfTurn`].
    #[error("the peer sent a message out of turn")]
    OutOfTurn,
    /// A message was over the transport's limit.
    #[error("a message is over the limit")]
    TooBig,
    /// The peer broke the WebSocket protocol.
    #[error("broken WebSocket: {0}")]
    Violation(String),
    /// The connection failed, or ended without a close frame.
    #[error("connection lost: {0}")]
    Lost(#[from] std::io::Error),
}
