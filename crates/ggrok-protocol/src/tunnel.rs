//! Both ends of a tunnel: a handle, and the future that keeps its WebSocket.

use std::fmt;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use crate::unary;
use crate::{CallError, Dialect, Ending, Limits, SessionError, Transport, TunnelBody};

/// Makes the relay's end of a tunnel, for a client that is about to be let in. Calls may be made
/// at once; they wait until the session runs.
pub fn open(dialect: Dialect, limits: Limits) -> (Tunnel, Session) {
    match dialect {
        Dialect::Ggrok => {
            let (line, session) = unary::open(limits);
            (Tunnel(line), Session(End::UnaryRelay(session)))
        }
    }
}

/// Makes the client's end of a tunnel, for a relay that has let the client in.
pub fn accept(dialect: Dialect, limits: Limits) -> (Incoming, Session) {
    match dialect {
        Dialect::Ggrok => {
            let (calls, session) = unary::accept(limits);
            (Incoming(calls), Session(End::UnaryClient(session)))
        }
    }
}

/// The relay's handle on a tunnel. Clones are the same tunnel; when the last one is dropped, the
/// session ends.
#[derive(Clone)]
pub struct Tunnel(unary::Line);

impl Tunnel {
    /// Sends a request through the tunnel and waits for its response.
    ///
    /// Hop-by-hop fields of both are left out (RFC 9110, section 7.6.1), request trailers too.
    /// Dropping the future gives the response up; ggrok's dialect has no word for that, so the
    /// next call waits until the unwanted answer has come.
    ///
    /// # Errors
    /// Every [`CallError`]. A call that ends with [`CallError::Closed`] or
    /// [`CallError::TimedOut`] may have reached the local server.
    pub async fn call<B>(&self, request: Request<B>) -> Result<Response<TunnelBody>, CallError>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        self.0.call(request).await
    }

    /// Ends the tunnel and tells the client why. Calls under way end with
    /// [`CallError::Closed`]. The first reason given counts.
    pub fn close(&self, why: Ending) {
        self.0.close(why);
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}

/// The client's handle on a tunnel: what the relay calls. When it is dropped, the session ends.
#[derive(Debug)]
pub struct Incoming(unary::Calls);

impl Incoming {
    /// Waits for the next call; `None` when the session has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<IncomingCall> {
        self.0.recv().await
    }
}

/// One call that wants to be answered.
#[derive(Debug)]
pub struct IncomingCall {
    /// The request, with its target as the visitor sent it and without hop-by-hop fields.
    pub request: Request<TunnelBody>,
    /// Where its response goes.
    pub responder: Responder,
}

/// Where the response of one call goes. Dropping it answers 502, so nobody can forget to answer.
#[derive(Debug)]
pub struct Responder(pub(crate) unary::Turn);

impl Responder {
    /// Answers the call. A response that the dialect cannot carry, or whose body is too large or
    /// breaks off, is replaced by a 502 that says so; the status that went out is returned.
    /// Hop-by-hop fields are left out.
    pub async fn respond<B>(self, response: Response<B>) -> http::StatusCode
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        self.0.respond(response).await
    }
}

/// The keeper of a tunnel's WebSocket: nothing moves unless it runs. Dropping it ends all calls.
#[must_use = "a tunnel moves only while its session runs"]
#[derive(Debug)]
pub struct Session(End);

#[derive(Debug)]
enum End {
    UnaryRelay(unary::RelaySession),
    UnaryClient(unary::ClientSession),
}

impl Session {
    /// Runs the tunnel over a WebSocket until one side ends it, and returns the reason that was
    /// given. Dropping the future closes the connection at once.
    ///
    /// # Errors
    /// The [`SessionError`] that ended the tunnel. The peer has been told, where it still listens.
    pub async fn run(self, transport: impl Transport) -> Result<Ending, SessionError> {
        match self.0 {
            End::UnaryRelay(session) => session.run(transport).await,
            End::UnaryClient(session) => session.run(transport).await,
        }
    }
}
