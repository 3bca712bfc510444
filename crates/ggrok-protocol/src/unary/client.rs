//! The client's end of a unary tunnel: it answers in turn.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{ACCEPT, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::codec::Codec;
use super::collect::collect;
use super::due::Due;
use crate::on_wake::OnWake;
use crate::pulse::{Beat, Pulse, probes};
use crate::tunnel::{IncomingCall, Responder};
use crate::wire::{self, Messages, Outbox};
use crate::{BodyLength, Broken, Responded};
use crate::{CallError, DecodeError, EncodeError, Ending, Limits, Message, MessageLimit, Refusal};
use crate::{SessionError, Transport, TransportError, TunnelBody};

/// The calls that come in.
#[derive(Debug)]
pub(crate) struct Calls {
    /// One place is enough: there is one call at a time.
    pub(crate) incoming: mpsc::Receiver<IncomingCall>,
    probe: Arc<Notify>,
}

impl Calls {
    /// Has the session find out soon whether the relay still lives, where it answers pings.
    pub(crate) fn probe(&self) {
        self.probe.notify_one();
    }
}

/// Makes the client's end: the calls that come in, and the session that carries their answers.
pub(crate) fn accept(codec: Codec, limits: Limits) -> (Calls, Session) {
    let (calls, incoming) = mpsc::channel(1);
    let probe = Arc::default();
    let due = Arc::new(Due::new(true));
    let session = Session {
        limit: MessageLimit::new(Arc::clone(&due) as _),
        due,
        codec,
        calls,
        limits,
        probe: Arc::clone(&probe),
    };
    (Calls { incoming, probe }, session)
}

/// The turn of one call: an answer is owed.
#[derive(Debug)]
pub(crate) struct Turn {
    codec: Codec,
    answer: oneshot::Sender<String>,
    /// The request's. In a box, as the turns of the other dialect are small.
    head: Box<Request<()>>,
    /// When the relay would give up, and with the call the tunnel.
    deadline: Instant,
    limits: Limits,
}

impl Turn {
    /// The request's head once more.
    pub(crate) fn head(&self) -> Request<()> {
        (*self.head).clone()
    }

    pub(crate) async fn respond<B>(self, response: Response<B>) -> Responded
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display,
    {
        let announced = response.body().size_hint().exact();
        let bytes = AtomicU64::new(0);
        let count = |frame: &Frame<Bytes>| {
            let data = frame.data_ref().map_or(0, Bytes::len);
            bytes.fetch_add(data as u64, Ordering::Relaxed);
        };
        let counted = response.map(|body| body.inspect_frame(count));
        let encoded = timeout_at(self.deadline, self.encode(counted)).await;
        let encoded = encoded.unwrap_or(Err(CallError::TimedOut));
        let bytes = bytes.into_inner();
        let length = BodyLength { bytes, announced };
        let broken = encoded.as_ref().err().and_then(broken);
        let (status, message) = match encoded {
            Ok(message) => message,
            Err(error) => self.refuse(&refusal(&error), broken.map(|_| length)),
        };
        // The session may have ended meanwhile; then nobody waits for this answer.
        self.answer.send(message).ok();
        Responded {
            status,
            length,
            broken,
        }
    }

    /// An answer in the place of a response, of which so much came where that is worth saying.
    fn refuse(&self, refusal: &Refusal, came: Option<BodyLength>) -> (StatusCode, String) {
        // In the form in which it would be read.
        let accept = self.head.headers().get(ACCEPT);
        let Some(came) = came else {
            return encode_refusal(self.codec, refusal, accept);
        };
        let text = refusal.text.trim_end_matches('.');
        let text = format!("{text}, after {came}.");
        encode(self.codec, refusal.response_with(&text, accept))
    }

    async fn encode<B>(&self, response: Response<B>) -> Result<(StatusCode, String), CallError>
    where
        B: Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let (head, body) = response.into_parts();
        let room = Arc::new(Semaphore::new(self.limits.body));
        let (body, _held) = collect(body, &self.limits, &room, None).await?;
        Ok((head.status, self.codec.encode_response(&head, &body)?))
    }
}

/// Who ended a body before its end.
const fn broken(error: &CallError) -> Option<Broken> {
    match error {
        CallError::BodyBroken(_) => Some(Broken::App),
        CallError::BodyStalled | CallError::TimedOut => Some(Broken::AppStalled),
        _ => None,
    }
}

/// The answer to a call whose response cannot be sent.
const fn refusal(error: &CallError) -> Refusal {
    let (code, text) = match error {
        CallError::BodyTooLarge => (
            "response-too-large",
            "The local server's response is larger than this tunnel carries in one piece.",
        ),
        CallError::BodyStalled | CallError::TimedOut => (
            "local-stalled",
            "This tunnel carries no streams, and the local server did not finish its response in time.",
        ),
        CallError::Encode(EncodeError::FieldNotText(_)) => (
            "response-field-not-text",
            "The local server's response has a field that is not UTF-8, which this tunnel does not carry.",
        ),
        _ => (
            "local-broken",
            "The local server broke off in the middle of its response.",
        ),
    };
    Refusal::new(StatusCode::BAD_GATEWAY, code, text)
}

const UNANSWERED: Refusal = Refusal::new(
    StatusCode::BAD_GATEWAY,
    "unanswered",
    "The client gave up this request without an answer.",
);

const UNREADABLE: Refusal = Refusal::new(
    StatusCode::BAD_GATEWAY,
    "unreadable-request",
    "The request was damaged on its way through the relay, and was not passed on.",
);

const HEAD_TOO_LARGE: Refusal = Refusal::new(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head-too-large",
    "The ggrok client takes no request whose fields are so large together.",
);

const METHOD: Refusal = Refusal::new(
    StatusCode::NOT_IMPLEMENTED,
    "method-not-replayed",
    "The ggrok client does not pass CONNECT and TRACE on to its app.",
);

fn encode_refusal(
    codec: Codec,
    refusal: &Refusal,
    accept: Option<&HeaderValue>,
) -> (StatusCode, String) {
    encode(codec, refusal.response(accept))
}

fn encode(codec: Codec, refusal: Response<Bytes>) -> (StatusCode, String) {
    let (head, body) = refusal.into_parts();
    let message = codec
        .encode_response(&head, &body)
        .expect("a refusal is all ASCII");
    (head.status, message)
}

/// The keeper of the client's end.
#[derive(Debug)]
pub(crate) struct Session {
    /// What its transport may buffer.
    pub(crate) limit: MessageLimit,
    due: Arc<Due>,
    codec: Codec,
    calls: mpsc::Sender<IncomingCall>,
    limits: Limits,
    probe: Arc<Notify>,
}

impl Session {
    pub(crate) async fn run(self, transport: impl Transport) -> Result<Ending, SessionError> {
        wire::run(transport, async |messages, outbox| {
            self.read(messages, outbox).await
        })
        .await
    }

    async fn read<T: Transport>(
        self,
        messages: &mut Messages<T>,
        outbox: Outbox,
    ) -> Result<Ending, SessionError> {
        let limit = self.limit;
        // The relay gives a call up by then.
        let patience = self.limits.dead_after.max(self.limits.call_timeout);
        let mut desk = Desk {
            due: self.due,
            codec: self.codec,
            outbox,
            // The Go relays read nothing between calls, and so answer no ping.
            pulse: Pulse::new(self.limits, false),
            calls: self.calls,
            answer: None,
            sent: 0,
            limits: self.limits,
        };
        let probes = pin!(probes(self.probe));
        let mut probes = OnWake::new(probes);
        loop {
            tokio::select! {
                biased;
                message = messages.next() => {
                    if let Some(ending) = desk.receive(message)? {
                        return Ok(ending);
                    }
                }
                answer = owed(desk.codec, &mut desk.answer) => {
                    desk.answer = None;
                    desk.sent += answer.len() as u64;
                    desk.due.set(true);
                    desk.outbox.post(Message::Text(answer.into()))?;
                }
                () = desk.calls.closed(), if desk.answer.is_none() => return Ok(Ending::Done),
                Some(()) = probes.next() => {
                    desk.outbox.ping();
                    desk.pulse.probed(desk.sent);
                }
                beat = desk.pulse.beat(false) => match beat {
                    Beat::Ping if limit.is_stalled(patience) => {
                        return Err(SessionError::Unfinished);
                    }
                    Beat::Ping => {
                        desk.outbox.ping();
                        desk.pulse.pinged(desk.sent);
                    }
                    Beat::Dead => return Err(SessionError::Dead),
                },
            }
        }
    }
}

/// What the session works at: the one answer that it owes.
struct Desk {
    /// Whether a request is.
    due: Arc<Due>,
    codec: Codec,
    outbox: Outbox,
    pulse: Pulse,
    calls: mpsc::Sender<IncomingCall>,
    answer: Option<oneshot::Receiver<String>>,
    /// Bytes of answers so far.
    sent: u64,
    limits: Limits,
}

impl Desk {
    /// Takes a message in; returns the reason where it ends the tunnel.
    fn receive(
        &mut self,
        message: Option<Result<Message, TransportError>>,
    ) -> Result<Option<Ending>, SessionError> {
        let Some(message) = message else {
            return Ok(Some(Ending::GoingAway));
        };
        self.pulse.heard();
        match message? {
            Message::Text(request) | Message::Binary(request) => self.take_request(&request)?,
            Message::Parts(request) => self.take_request(&request.concat())?,
            // One that pings is one that will go on pinging, and ours do so often enough. Of a
            // mirror's server nobody knows how often.
            Message::Ping if self.codec == Codec::Ggrok => self.pulse.demand(),
            Message::Pong => self.pulse.ponged(),
            Message::Ping => {}
            Message::Close(ending) => return Ok(Some(ending)),
        }
        Ok(None)
    }

    fn take_request(&mut self, message: &[u8]) -> Result<(), SessionError> {
        if self.answer.is_some() {
            return Err(SessionError::OutOfTurn);
        }
        let request = match self.codec.decode_request(message) {
            Ok(request) => request,
            Err(error) if error.is_violation() => {
                return Err(SessionError::NoEnvelope(error.to_string()));
            }
            Err(error) => {
                let refusal = match error {
                    DecodeError::Method(_) => &METHOD,
                    DecodeError::HeadTooLarge => &HEAD_TOO_LARGE,
                    _ => &UNREADABLE,
                };
                let (_, answer) = encode_refusal(self.codec, refusal, None);
                return self.outbox.post(Message::Text(answer.into()));
            }
        };
        let (head, body) = request.into_parts();
        let head = Request::from_parts(head, ());
        let (answer, owed) = oneshot::channel();
        self.answer = Some(owed);
        self.due.set(false);
        let turn = Turn {
            codec: self.codec,
            answer,
            head: Box::new(head.clone()),
            deadline: Instant::now() + self.limits.call_timeout,
            limits: self.limits,
        };
        let call = IncomingCall {
            request: Box::new(head.map(|()| TunnelBody::whole(body, None))),
            responder: Responder::unary(turn),
        };
        // Where nobody takes calls any more, this one is told so, and the session ends behind it.
        self.calls.try_send(call).ok();
        Ok(())
    }
}

/// Waits for the answer that is owed, for ever where none is.
async fn owed(codec: Codec, answer: &mut Option<oneshot::Receiver<String>>) -> String {
    match answer {
        Some(answer) => answer
            .await
            .unwrap_or_else(|_| encode_refusal(codec, &UNANSWERED, None).1),
        None => std::future::pending().await,
    }
}
