//! The relay's end of a unary tunnel: calls take turns on it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Method, Request, Response};
use http_body::Body;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::codec::Codec;
use super::collect::{Budget, Held, collect};
use super::due::Due;
use crate::TransportError;
use crate::headers::requested_upgrade;
use crate::pulse::{Beat, Pulse};
use crate::wire::{self, Messages, Outbox};
use crate::{Account, CallError, Ending, Limits, Message, MessageLimit, SessionError, Transport};
use crate::{EncodeError, TunnelBody, fits_response, head_limit};

/// Makes the relay's end: where calls go in, and the session that carries them.
pub(crate) fn open(codec: Codec, limits: Limits) -> (Line, Session) {
    let (exchanges, queued) = mpsc::channel(1);
    let (closing, closed) = watch::channel(None);
    let line = Line {
        codec,
        turn: Arc::default(),
        exchanges,
        closing,
        live: Arc::new(Semaphore::new(limits.calls)),
        held: Arc::new(Semaphore::new(limits.held_bytes() as usize)),
        limits,
    };
    let due = Arc::new(Due::new(false));
    let session = Session {
        limit: MessageLimit::new(Arc::clone(&due) as _),
        due,
        codec,
        exchanges: queued,
        closing: closed,
        limits,
    };
    (line, session)
}

/// Where calls go in.
#[derive(Clone)]
pub(crate) struct Line {
    codec: Codec,
    turn: Arc<Mutex<()>>,
    /// To the session. One place is enough: only the holder of the turn sends.
    exchanges: mpsc::Sender<Exchange>,
    closing: watch::Sender<Option<Ending>>,
    live: Arc<Semaphore>,
    held: Budget,
    limits: Limits,
}

/// One request on its way, with the turn that it holds until it is answered.
#[derive(Debug)]
struct Exchange {
    message: Bytes,
    method: Method,
    answer: oneshot::Sender<Answer>,
    _turn: OwnedMutexGuard<()>,
    /// The request's bytes, given back with the answer.
    _held: Held,
}

/// What became of an exchange.
type Answer = Result<Response<Bytes>, CallError>;

impl Line {
    pub(crate) async fn call<B>(
        &self,
        request: Request<B>,
        account: Option<Account>,
        taken: impl FnOnce() + Send,
    ) -> Result<Response<TunnelBody>, CallError>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let (head, body) = request.into_parts();
        if requested_upgrade(&head).is_some() {
            return Err(EncodeError::Upgrade.into());
        }
        let (body, held) = collect(body, &self.limits, &self.held, account.as_ref()).await?;
        // Not before: whoever is slow to send takes nobody's place.
        let _live = self
            .live
            .try_acquire()
            .map_err(|_| CallError::TooManyCalls)?;

        let deadline = Instant::now() + self.limits.call_timeout;
        let exchange = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            // Not before: an envelope can be six times as large as its body, and those who wait
            // are many.
            let method = head.method.clone();
            let message = self.codec.encode_request(head, &body)?;
            drop(body);
            let (answer, answered) = oneshot::channel();
            let exchange = Exchange {
                message: message.into(),
                method,
                answer,
                _turn: turn,
                _held: held,
            };
            let sent = self.exchanges.send(exchange).await;
            sent.map_err(|_| CallError::Closed)?;
            taken();
            answered.await.map_err(|_| CallError::Closed)?
        };
        let response = timeout_at(deadline, exchange)
            .await
            .map_err(|_| CallError::TimedOut)??;
        self.hold(response, account.as_ref())
    }

    /// Counts a response against the tunnel's bytes. Where visitors are slow to take theirs and
    /// there is no room, it is refused: to wait for them would hold everybody up.
    fn hold(
        &self,
        response: Response<Bytes>,
        account: Option<&Account>,
    ) -> Result<Response<TunnelBody>, CallError> {
        if !fits_response(response.headers()) {
            return Err(CallError::ResponseHeadTooLarge);
        }
        let head = head_limit::length(response.headers());
        let held = Held::take(&self.held, account, head + response.body().len())?;
        Ok(response.map(|body| TunnelBody::whole(body, Some(held)).behind_head_of(head)))
    }

    /// Bytes that may be held for calls, and that are left of them.
    pub(crate) fn held(&self) -> (usize, usize) {
        let bytes = self.limits.held_bytes() as usize;
        (bytes, self.held.available_permits())
    }

    pub(crate) fn close(&self, why: Ending) {
        self.closing.send_if_modified(|reason| {
            let first = reason.is_none();
            reason.get_or_insert(why);
            first
        });
    }
}

/// The keeper of the relay's end.
#[derive(Debug)]
pub(crate) struct Session {
    /// What its transport may buffer.
    pub(crate) limit: MessageLimit,
    due: Arc<Due>,
    codec: Codec,
    exchanges: mpsc::Receiver<Exchange>,
    closing: watch::Receiver<Option<Ending>>,
    limits: Limits,
}

impl Session {
    pub(crate) async fn run(self, transport: impl Transport) -> Result<Ending, SessionError> {
        wire::run(transport, async |messages, outbox| {
            self.read(messages, outbox).await
        })
        .await
    }

    async fn read<T: Transport>(
        mut self,
        messages: &mut Messages<T>,
        outbox: Outbox,
    ) -> Result<Ending, SessionError> {
        let mut desk = Desk {
            due: self.due,
            codec: self.codec,
            outbox,
            pulse: Pulse::new(self.limits, true),
            pending: None,
            limits: self.limits,
        };
        loop {
            let deadline = desk.deadline();
            tokio::select! {
                // What has arrived comes first: a peer is not dead while its words wait to be read.
                biased;
                message = messages.next() => {
                    if let Some(ending) = desk.receive(message)? {
                        return Ok(ending);
                    }
                }
                // Before the handles are seen to be gone: whoever closes may be the last to hold one.
                Ok(reason) = self.closing.wait_for(Option::is_some) => {
                    return Ok(reason.unwrap_or(Ending::GoingAway));
                }
                exchange = self.exchanges.recv(), if deadline.is_none() => match exchange {
                    Some(exchange) => desk.begin(exchange)?,
                    None => return Ok(Ending::GoingAway),
                },
                () = expired(deadline) => {
                    desk.give_up(CallError::TimedOut);
                    return Err(SessionError::CallTimedOut);
                }
                // A client that works at a request may have no time to answer pings: the Go clients
                // read nothing meanwhile. The call's deadline bounds that.
                beat = desk.pulse.beat(deadline.is_some()) => match beat {
                    Beat::Ping => desk.outbox.ping(),
                    Beat::Dead => return Err(SessionError::Dead),
                },
            }
        }
    }
}

/// What the session works at: the one exchange that is under way.
struct Desk {
    /// Whether an answer is.
    due: Arc<Due>,
    codec: Codec,
    outbox: Outbox,
    pulse: Pulse,
    pending: Option<Pending>,
    limits: Limits,
}

struct Pending {
    exchange: Exchange,
    deadline: Instant,
}

impl Desk {
    fn deadline(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.deadline)
    }

    fn begin(&mut self, mut exchange: Exchange) -> Result<(), SessionError> {
        let message = std::mem::take(&mut exchange.message);
        let deadline = Instant::now() + self.limits.call_timeout;
        self.pending = Some(Pending { exchange, deadline });
        self.due.set(true);
        self.outbox.post(Message::Text(message))
    }

    /// Takes a message in; returns the reason where it ends the tunnel.
    fn receive(
        &mut self,
        message: Option<Result<Message, TransportError>>,
    ) -> Result<Option<Ending>, SessionError> {
        let Some(message) = message else {
            return Ok(Some(Ending::GoingAway));
        };
        self.pulse.heard();
        if matches!(message, Err(TransportError::TooBig)) {
            self.give_up(CallError::AnswerTooLarge);
        }
        match message? {
            Message::Text(answer) | Message::Binary(answer) => self.answer(&answer)?,
            Message::Parts(answer) => self.answer(&answer.concat())?,
            Message::Ping | Message::Pong => {}
            Message::Close(ending) => return Ok(Some(ending)),
        }
        Ok(None)
    }

    fn answer(&mut self, message: &[u8]) -> Result<(), SessionError> {
        let Some(Pending { exchange, .. }) = self.pending.take() else {
            return Err(SessionError::OutOfTurn);
        };
        self.due.set(false);
        // The visitor may have left; then this drops the answer. Either way the turn is over.
        match self.codec.decode_response(message, &exchange.method) {
            Ok(response) => drop(exchange.answer.send(Ok(response))),
            Err(error) => {
                let violation = error.is_violation().then(|| error.to_string());
                exchange.answer.send(Err(error.into())).ok();
                if let Some(what) = violation {
                    return Err(SessionError::NoEnvelope(what));
                }
            }
        }
        Ok(())
    }

    fn give_up(&mut self, why: CallError) {
        if let Some(Pending { exchange, .. }) = self.pending.take() {
            exchange.answer.send(Err(why)).ok();
        }
    }
}

async fn expired(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
