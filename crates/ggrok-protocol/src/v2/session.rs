//! The keeper of one tunnel's WebSocket, at either end.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout};

use super::call::{Call, CallId, Over, Violation};
use super::calls::{Calls, NotTaken};
use super::client::Arrival;
use super::frame::Frame;
use super::head::{Known, decode_trailers};
use super::outbox::{Outbox, Writer};
use crate::error::ResetCode;
use crate::head_limit;
use crate::on_wake::OnWake;
use crate::pulse::{Beat, Pulse, probes};
use crate::wire::{FAREWELL, Messages, farewell, last_words, split};
use crate::{Ending, Limits, Message, MessageLimit, SessionError, Transport, TransportError};

/// What the session shares with the handles and bodies of its tunnel.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) calls: Calls,
    pub(crate) outbox: Outbox,
    pub(crate) limits: Limits,
    /// Requests to find out soon whether the peer lives.
    pub(crate) probe: Arc<Notify>,
    /// What is known of the heads that come.
    known: Mutex<Known>,
}

impl Shared {
    pub(crate) fn new(limits: Limits) -> (Arc<Self>, Writer) {
        let (outbox, writer) = Outbox::new(limits.calls);
        let calls = Calls::new(limits);
        let shared = Self {
            calls,
            outbox,
            limits,
            probe: Arc::default(),
            known: Mutex::default(),
        };
        (Arc::new(shared), writer)
    }

    /// What is known of the heads that come, of requests or of responses.
    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keeper of one end of a tunnel.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) closing: watch::Receiver<Option<Ending>>,
    /// What its transport may buffer.
    pub(crate) limit: MessageLimit,
    /// Where calls of the relay go, at the client.
    pub(crate) arrivals: Option<mpsc::Sender<Arrival>>,
}

/// Ends all calls with the session, however that ends.
struct EndsCalls(Arc<Shared>);

impl Drop for EndsCalls {
    fn drop(&mut self) {
        self.0.calls.close();
    }
}

impl Session {
    pub(crate) async fn run(self, transport: impl Transport) -> Result<Ending, SessionError> {
        let (sink, mut stream) = split(transport);
        let ends_calls = EndsCalls(Arc::clone(&self.shared));
        let outbox = self.shared.outbox.clone();
        let writing = pin!(self.writer.run(sink));
        let mut writing = OnWake::new(writing);
        let limits = self.shared.limits;
        let reader = Reader {
            limit: self.limit,
            pulse: match self.arrivals {
                Some(_) => Pulse::of_client(limits),
                None => Pulse::new(limits, true),
            },
            shared: self.shared,
            arrivals: self.arrivals,
        };
        // Side by side, so that reading never waits for writing: two ends with full sockets would
        // wait for each other for ever.
        let ended = {
            let mut reading = pin!(reader.run(&mut stream, self.closing));
            tokio::select! {
                ended = &mut reading => ended,
                // What the peer said before is still taken in, and its reason above all.
                Err(error) = &mut writing => {
                    let ended = timeout(FAREWELL, reading).await;
                    return ended.ok().and_then(Result::ok).ok_or(error);
                }
            }
        };
        drop(ends_calls);
        let Some(ending) = farewell(&ended) else {
            return ended;
        };
        outbox.close(ending);
        // The peer may be gone already; it is told, not asked.
        timeout(FAREWELL, writing).await.ok();
        // A peer that was silent for too long says no last words either.
        if !matches!(ended, Err(SessionError::Dead)) {
            last_words(&mut stream).await;
        }
        ended
    }
}

/// The reading half.
struct Reader {
    limit: MessageLimit,
    shared: Arc<Shared>,
    pulse: Pulse,
    arrivals: Option<mpsc::Sender<Arrival>>,
}

impl Reader {
    async fn run<T: Transport>(
        mut self,
        messages: &mut Messages<T>,
        mut closing: watch::Receiver<Option<Ending>>,
    ) -> Result<Ending, SessionError> {
        // Made once, since each time that it begins to wait it takes its place in a list.
        let closing = pin!(closing.wait_for(Option::is_some));
        let mut closing = OnWake::new(closing);
        let probes = pin!(probes(Arc::clone(&self.shared.probe)));
        let mut probes = OnWake::new(probes);
        loop {
            tokio::select! {
                // What has arrived comes first: a peer is not dead while its words wait to be read.
                biased;
                message = messages.next() => {
                    if let Some(ending) = self.receive(message)? {
                        return Ok(ending);
                    }
                }
                reason = &mut closing => {
                    // Without a reason: the last handle is gone.
                    let reason = reason.ok().and_then(|reason| *reason);
                    return Ok(reason.unwrap_or(Ending::GoingAway));
                }
                Some(()) = probes.next() => {
                    self.shared.outbox.ping();
                    self.pulse.probed(self.shared.outbox.sent());
                }
                beat = self.pulse.beat(false) => match beat {
                    Beat::Ping if self.limit.is_stalled(self.shared.limits.dead_after) => {
                        return Err(SessionError::Unfinished);
                    }
                    Beat::Ping => {
                        self.shared.outbox.ping();
                        self.pulse.pinged(self.shared.outbox.sent());
                        // A tunnel that waits keeps none, and one that works has them again at once.
                        self.shared.known().forget();
                    }
                    Beat::Dead => return Err(SessionError::Dead),
                },
            }
        }
    }

    /// Takes a message in; returns the reason where it ends the tunnel.
    fn receive(
        &mut self,
        message: Option<Result<Message, TransportError>>,
    ) -> Result<Option<Ending>, SessionError> {
        let Some(message) = message else {
            return Ok(Some(Ending::GoingAway));
        };
        let came = self.pulse.heard();
        if self.shared.outbox.is_overrun() {
            return Err(SessionError::Violation);
        }
        match message? {
            Message::Binary(frame) => self.take(frame, came)?,
            Message::Parts(frame) => self.take(frame.concat().into(), came)?,
            Message::Text(_) => return Err(SessionError::NoFrame),
            Message::Pong => self.pulse.ponged(),
            Message::Ping => {}
            Message::Close(ending) => return Ok(Some(ending)),
        }
        Ok(None)
    }

    fn take(&self, message: Bytes, came: Instant) -> Result<(), SessionError> {
        let frame = Frame::decode(message).map_err(|_| SessionError::NoFrame)?;
        let Some(frame) = frame else {
            return Ok(());
        };
        self.apply(frame, came).map_err(|_| SessionError::Violation)
    }

    /// Frames of calls that are not live are late, and dropped.
    fn apply(&self, frame: Frame, came: Instant) -> Result<(), Violation> {
        match frame {
            Frame::Head {
                call,
                head,
                body,
                end,
            } => {
                let deliver = |call: &Call| call.deliver(body, end, came);
                return self.apply_head(call, head, deliver);
            }
            Frame::Data { call, body, end } => {
                if let Some(call) = self.find(call) {
                    call.deliver(body, end, came)?;
                }
            }
            Frame::Trailers { call, fields } => {
                if let Some(call) = self.find(call) {
                    self.apply_trailers(&call, &fields)?;
                }
            }
            Frame::Window { call, credit } => {
                if let Some(call) = self.find(call) {
                    call.add_credit(credit)?;
                }
            }
            Frame::Reset { call, code } => {
                let calls = &self.shared.calls;
                let given_up = match self.arrivals {
                    Some(_) => calls.give_up(call),
                    None => calls.remove(call),
                };
                if let Some(call) = given_up {
                    call.end(Over::Reset(code));
                }
            }
            Frame::GoAway => match &self.arrivals {
                // Full only where the client takes no calls, and then it learns soon enough.
                Some(arrivals) => drop(arrivals.try_send(Arrival::GoAway)),
                None => self.shared.calls.go_away(),
            },
        }
        Ok(())
    }

    fn find(&self, call: CallId) -> Option<Arc<Call>> {
        self.shared.calls.find(call)
    }

    fn apply_trailers(&self, call: &Call, fields: &[u8]) -> Result<(), Violation> {
        let trailers = (fields.len() <= head_limit::TRAILERS)
            .then(|| decode_trailers(fields).ok())
            .flatten();
        let Some(trailers) = trailers else {
            self.give_up(call, ResetCode::Malformed);
            return Ok(());
        };
        if !call.deliver_trailers(trailers, fields.len())? {
            self.give_up(call, ResetCode::Refused);
        }
        Ok(())
    }

    /// Takes a head in, behind what came along with it of the body.
    fn apply_head(
        &self,
        id: CallId,
        head: Bytes,
        deliver: impl FnOnce(&Call) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let Some(arrivals) = &self.arrivals else {
            if let Some(call) = self.find(id) {
                deliver(&call)?;
                call.deliver_head(head)?;
            }
            return Ok(());
        };
        let call = match self.shared.calls.take(id, head.len()) {
            Ok(call) => call,
            Err(NotTaken::Violation) => return Err(Violation),
            Err(NotTaken::Unwanted) => return Ok(()),
            Err(NotTaken::Full) => {
                self.shared.outbox.reset(id, ResetCode::Refused);
                return Ok(());
            }
        };
        deliver(&call)?;
        if arrivals.try_send(Arrival::Call(call, head)).is_err() {
            self.shared.calls.remove(id);
            self.shared.outbox.reset(id, ResetCode::Refused);
        }
        Ok(())
    }

    /// Ends a call of which something came that is refused.
    fn give_up(&self, call: &Call, code: ResetCode) {
        self.shared.calls.remove(call.id);
        call.end(Over::Reset(code));
        self.shared.outbox.reset(call.id, code);
    }
}
