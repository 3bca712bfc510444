//! Both ends of a tunnel: a handle, and the future that keeps its WebSocket.

use std::fmt;
use std::future::pending;

use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response};
use http_body::Body;

use crate::unary::{self, Codec};
use crate::v2;
use crate::{Account, CallError, Dialect, Ending, Limits, MessageLimit, Responded, SessionError};
use crate::{Transport, TunnelBody};

/// Makes the relay's end of a tunnel, for a client that is about to be let in. Calls may be made
/// at once; they wait until the session runs.
pub fn open(dialect: Dialect, limits: Limits) -> (Tunnel, Session) {
    match dialect {
        Dialect::V2 => {
            let (line, session) = v2::open(limits);
            (Tunnel(Line::V2(line)), Session(End::V2(session)))
        }
        Dialect::Ggrok => open_unary(Codec::Ggrok, limits),
        Dialect::MagicMirror => open_unary(Codec::MagicMirror, limits),
    }
}

fn open_unary(codec: Codec, limits: Limits) -> (Tunnel, Session) {
    let (line, session) = unary::open(codec, limits);
    (Tunnel(Line::Unary(line)), Session(End::UnaryRelay(session)))
}

/// Makes the client's end of a tunnel, for a relay that has let the client in.
pub fn accept(dialect: Dialect, limits: Limits) -> (Incoming, Session) {
    match dialect {
        Dialect::V2 => {
            let (arrivals, session) = v2::accept(limits);
            (Incoming(Source::V2(arrivals)), Session(End::V2(session)))
        }
        Dialect::Ggrok => accept_unary(Codec::Ggrok, limits),
        Dialect::MagicMirror => accept_unary(Codec::MagicMirror, limits),
    }
}

fn accept_unary(codec: Codec, limits: Limits) -> (Incoming, Session) {
    let (calls, session) = unary::accept(codec, limits);
    let incoming = Incoming(Source::Unary(calls));
    (incoming, Session(End::UnaryClient(session)))
}

/// The relay's handle on a tunnel. Clones are the same tunnel; when the last one is dropped, the
/// session ends.
#[derive(Clone)]
pub struct Tunnel(Line);

#[derive(Clone)]
enum Line {
    Unary(unary::Line),
    V2(v2::Line),
}

impl Tunnel {
    /// Sends a request through the tunnel and waits for its response.
    ///
    /// The request must have no hop-by-hop fields (see
    /// [`remove_hop_by_hop`](crate::remove_hop_by_hop)) but `Connection: upgrade` with an Upgrade
    /// field, which asks for one. It is granted where the response is a 101: then both bodies are
    /// the two directions of a connection of bytes.
    ///
    /// Dropping the future gives the call up. The unary dialects have no word for that, so there
    /// the next call waits until the unwanted answer has come.
    ///
    /// # Errors
    /// Every [`CallError`]. A call that ends with [`CallError::Closed`], [`CallError::Reset`] or
    /// [`CallError::TimedOut`] may have reached the local server.
    pub async fn call<B>(&self, request: Request<B>) -> Result<Response<TunnelBody>, CallError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: fmt::Display,
    {
        self.call_noting(request, None, || {}).await
    }

    /// Calls, and says when the request's head is on its way to the client: in the unary dialects that
    /// is when the call has its turn and the whole request goes. What the call holds is reserved in
    /// `account` too, where there is one.
    ///
    /// # Errors
    /// Those of [`call`](Self::call).
    pub fn call_noting<B>(
        &self,
        request: Request<B>,
        account: Option<Account>,
        taken: impl FnOnce() + Send,
    ) -> impl Future<Output = Result<Response<TunnelBody>, CallError>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: fmt::Display,
    {
        // Each call keeps the room of the larger one, so that one lies in a box.
        match &self.0 {
            Line::Unary(line) => Either::Left(Box::pin(line.call(request, account, taken))),
            Line::V2(line) => Either::Right(line.call(request, account, taken)),
        }
    }

    /// Bytes of bodies that may be held for all calls, and that are left of them.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        match &self.0 {
            Line::Unary(line) => line.held(),
            Line::V2(line) => line.held(),
        }
    }

    /// Tells the client that no new calls will come, so that it can look for another relay. A
    /// client of a unary dialect cannot be told.
    pub fn go_away(&self) {
        match &self.0 {
            Line::Unary(_) => {}
            Line::V2(line) => line.go_away(),
        }
    }

    /// Waits until the client says that it is about to stop. From then on no call is made any more
    /// ([`CallError::GoingAway`]), while those that run may finish. A client of a unary dialect has no
    /// word for that. Cancel-safe.
    pub async fn going_away(&self) {
        match &self.0 {
            Line::Unary(_) => pending().await,
            Line::V2(line) => line.going_away().await,
        }
    }

    /// Waits until the last call of a client that is [`going_away`](Self::going_away) has finished.
    /// Cancel-safe.
    pub async fn finished(&self) {
        match &self.0 {
            Line::Unary(_) => pending().await,
            Line::V2(line) => line.finished().await,
        }
    }

    /// Ends the tunnel and tells the client why. Calls under way end with
    /// [`CallError::Closed`]. The first reason given counts.
    pub fn close(&self, why: Ending) {
        match &self.0 {
            Line::Unary(line) => line.close(why),
            Line::V2(line) => line.close(why),
        }
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tunnel")
    }
}

/// The client's handle on a tunnel: what the relay calls. When it is dropped, the session ends, in a
/// unary dialect behind the answer that is owed.
#[derive(Debug)]
pub struct Incoming(Source);

#[derive(Debug)]
enum Source {
    Unary(unary::Calls),
    V2(v2::Arrivals),
}

/// What comes in at the client.
#[derive(Debug)]
pub enum Arrival {
    /// A call that wants to be answered.
    Call(IncomingCall),
    /// The relay is about to stop: no new calls will come, those that run may finish.
    GoAway,
}

impl Incoming {
    /// Says that this client will stop: it takes no new calls, and those that run may finish. Then the
    /// tunnel ends; in a unary dialect the client ends it, as soon as the call that runs is answered,
    /// of which the relay has to take the answer within a second. Until then
    /// [`next`](Self::next) gives what the relay had called before it heard of that.
    pub fn go_away(&mut self) {
        match &mut self.0 {
            Source::Unary(calls) => calls.incoming.close(),
            Source::V2(arrivals) => arrivals.go_away(),
        }
    }

    /// Has the session ping the relay, and end with [`SessionError::Dead`] where nothing comes soon: for a
    /// connection that may be lost, as after the machine slept or its network changed. Data that are on
    /// their way to the relay delay that. In a unary dialect it has no effect at a relay that has not
    /// pinged, since it may answer none.
    pub fn probe(&self) {
        match &self.0 {
            Source::Unary(calls) => calls.probe(),
            Source::V2(arrivals) => arrivals.probe(),
        }
    }

    /// Waits for what comes next; `None` when the session has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arrival> {
        match &mut self.0 {
            Source::Unary(calls) => calls.incoming.recv().await.map(Arrival::Call),
            Source::V2(arrivals) => Some(match arrivals.next().await? {
                Some((request, answer)) => Arrival::Call(IncomingCall {
                    request,
                    responder: Responder(Owed::V2(answer)),
                }),
                None => Arrival::GoAway,
            }),
        }
    }
}

/// One call that wants to be answered.
#[derive(Debug)]
pub struct IncomingCall {
    /// The request, with its target as the visitor sent it and without hop-by-hop fields. Where
    /// the visitor asks for an upgrade it has `Connection: upgrade` and an Upgrade field. It is in a
    /// box, since it is handed on several times before it is sent.
    pub request: Box<Request<TunnelBody>>,
    /// Where its response goes.
    pub responder: Responder,
}

/// Where the response of one call goes. Dropping it tells the visitor so by a 502, so nobody can
/// forget to answer.
#[derive(Debug)]
pub struct Responder(Owed);

#[derive(Debug)]
enum Owed {
    /// In a box, since each call of the other dialect would keep its room.
    Unary(Box<unary::Turn>),
    V2(v2::Answer),
}

impl Responder {
    pub(crate) fn unary(turn: unary::Turn) -> Self {
        Self(Owed::Unary(Box::new(turn)))
    }

    /// Answers the call, and returns what went out when the body has been sent or given
    /// up. The response must have no hop-by-hop fields; a 101 keeps its Upgrade field, and its body
    /// is what the local server sends from then on.
    ///
    /// A body that breaks off reaches the visitor visibly broken. In a unary dialect a response
    /// that cannot be carried, or whose body is too large or breaks off, is replaced by a 502.
    pub fn respond<B>(self, response: Response<B>) -> impl Future<Output = Responded>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display,
    {
        match self.0 {
            Owed::Unary(turn) => Either::Left(Box::pin(turn.respond(response))),
            Owed::V2(answer) => Either::Right(answer.respond(response)),
        }
    }

    /// The head of the request once more, as it was in [`IncomingCall::request`]: for a local server
    /// that has to be sent it a second time.
    #[must_use]
    pub fn head(&self) -> Request<()> {
        match &self.0 {
            Owed::Unary(turn) => turn.head(),
            Owed::V2(answer) => answer.head(),
        }
    }

    /// Waits until nobody wants the response any more. In a unary dialect that is never: order
    /// demands an answer.
    pub async fn cancelled(&self) {
        match &self.0 {
            Owed::Unary(_) => pending().await,
            Owed::V2(answer) => answer.cancelled().await,
        }
    }
}

/// The keeper of a tunnel's WebSocket: nothing moves unless it runs. Dropping it ends all calls.
#[must_use = "a tunnel moves only while its session runs"]
pub struct Session(End);

enum End {
    UnaryRelay(unary::RelaySession),
    UnaryClient(unary::ClientSession),
    V2(v2::Session),
}

impl Session {
    /// What bounds the messages that its transport buffers. One that does not ask buffers messages of any
    /// length, whether they are due or not.
    #[must_use]
    pub fn message_limit(&self) -> MessageLimit {
        let limit = match &self.0 {
            End::UnaryRelay(session) => &session.limit,
            End::UnaryClient(session) => &session.limit,
            End::V2(session) => &session.limit,
        };
        limit.clone()
    }

    /// Runs the tunnel over a WebSocket until one side ends it, and returns the reason that was
    /// given. Dropping the future closes the connection at once.
    ///
    /// # Errors
    /// The [`SessionError`] that ended the tunnel. The peer has been told, where it still listens.
    pub async fn run(self, transport: impl Transport) -> Result<Ending, SessionError> {
        match self.0 {
            End::UnaryRelay(session) => session.run(transport).await,
            End::UnaryClient(session) => session.run(transport).await,
            End::V2(session) => session.run(transport).await,
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}
