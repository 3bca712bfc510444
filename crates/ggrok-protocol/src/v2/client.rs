//! The client's end: calls come in, and are answered side by side.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode, response};
use http_body::Body;
use tokio::sync::{mpsc, watch};

use super::admission::Frames;
use super::body::Incoming;
use super::call::{Call, Over};
use super::frame::Frame;
use super::head::{self, Asks, Known};
use super::send::{Rest, Unsent};
use super::session::{Session, Shared};
use super::window::INITIAL;
use crate::error::ResetCode;
use crate::headers::remove_hop_by_hop;
use crate::within::within;
use crate::{Broken, DecodeError, Ending, Limits, MessageLimit, Responded, TunnelBody, replayable};

/// What comes in at the client.
#[derive(Debug)]
pub(crate) enum Arrival {
    Call(Arc<Call>, Bytes),
    GoAway,
}

/// Makes the client's end: what comes in, and the session that carries the answers.
pub(crate) fn accept(limits: Limits) -> (Arrivals, Session) {
    let (shared, writer) = Shared::new(limits);
    let (closing, closed) = watch::channel(None);
    // As many calls as may be live, and a GoAway.
    let (sender, arrivals) = mpsc::channel(limits.calls.saturating_add(1));
    let frames = Frames {
        shared: Arc::clone(&shared),
        opens_calls: true,
    };
    let session = Session {
        limit: MessageLimit::new(Arc::new(frames)),
        shared: Arc::clone(&shared),
        writer,
        closing: closed,
        arrivals: Some(sender),
    };
    let arrivals = Arrivals {
        shared,
        arrivals,
        closing,
    };
    (arrivals, session)
}

/// What comes in. When it is dropped, the session ends.
#[derive(Debug)]
pub(crate) struct Arrivals {
    shared: Arc<Shared>,
    arrivals: mpsc::Receiver<Arrival>,
    closing: watch::Sender<Option<Ending>>,
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.closing.send_replace(Some(Ending::Done));
    }
}

/// A request with its answer to give, or a GoAway.
pub(crate) type Next = Option<(Box<Request<TunnelBody>>, Answer)>;

impl Arrivals {
    /// Tells the relay to make no new calls. Those that it made before it hears that still come.
    pub(crate) fn go_away(&self) {
        self.shared.outbox.go_away();
    }

    /// Has the session find out soon whether the relay still lives.
    pub(crate) fn probe(&self) {
        self.shared.probe.notify_one();
    }

    /// The next call, or a GoAway. Nothing when the session has ended.
    pub(crate) async fn next(&mut self) -> Option<Next> {
        loop {
            let Arrival::Call(call, head) = self.arrivals.recv().await? else {
                return Some(None);
            };
            let mut answer = Answer {
                call,
                shared: Arc::clone(&self.shared),
                head: head::own(&head),
                code: ResetCode::Unanswered,
            };
            match answer.request() {
                Ok(request) => return Some(Some((request, answer))),
                Err(_) => answer.code = ResetCode::Malformed,
            }
        }
    }
}

/// The answer that one call is owed. Dropping it resets the call.
#[derive(Debug)]
pub(crate) struct Answer {
    call: Arc<Call>,
    shared: Arc<Shared>,
    /// The request's, as it came.
    head: Bytes,
    /// What the relay is told where this is dropped.
    code: ResetCode,
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.shared.calls.remove(self.call.id).is_some() {
            match self.code {
                // Nothing was said, and the bound on resets counts these.
                ResetCode::Malformed => self.shared.outbox.reset(self.call.id, self.code),
                _ => self.shared.outbox.reset_after_data(self.call.id, self.code),
            }
            self.call.end(Over::Reset(self.code));
        }
    }
}

impl Answer {
    fn request(&self) -> Result<Box<Request<TunnelBody>>, DecodeError> {
        let (request, asks) = request(&self.head, &mut self.shared.known())?;
        let promised = asks.expect.then_some(INITIAL);
        let outbox = self.shared.outbox.clone();
        let call = Arc::clone(&self.call);
        let body = Incoming::new(call, outbox, request.headers(), promised, ());
        if let Some(announced) = body.lacks() {
            // The local server would read it out of the next request on the connection.
            let announced = announced.to_string();
            return Err(DecodeError::BodyLength {
                announced,
                actual: 0,
            });
        }
        Ok(Box::new(request.map(|()| TunnelBody::request(body))))
    }

    /// The request's head once more.
    pub(crate) fn head(&self) -> Request<()> {
        let read = request(&self.head, &mut self.shared.known());
        let (request, _) = read.expect("it was read before");
        request
    }

    /// Waits until the relay gives the call up. A request body that broke off is read up to there
    /// first, within [`LAST`].
    pub(crate) async fn cancelled(&self) {
        let over = poll_fn(|cx| self.call.poll_over(cx)).await;
        self.read_out(over).await;
    }

    /// Lets the local server read what came of a request body that broke off.
    async fn read_out(&self, over: Over) {
        if over == Over::Reset(ResetCode::Broken) {
            within(LAST, poll_fn(|cx| self.call.poll_read_out(cx))).await;
        }
    }

    /// Sends the response to its end.
    pub(crate) fn respond<B>(self, response: Response<B>) -> impl Future<Output = Responded>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display,
    {
        let (head, body) = response.into_parts();
        let status = head.status;
        let (envelope, upgraded) = envelope(head);
        let mut rest = Rest::of(body);
        async move {
            let broken = self.settle(envelope, upgraded, &mut rest).await;
            let length = rest.length();
            Responded {
                status,
                length,
                broken,
            }
        }
    }

    /// Sends a response, and leaves the call as that ended. Returns why its body was not sent to its end.
    async fn settle<B>(
        mut self,
        envelope: Bytes,
        upgraded: bool,
        rest: &mut Rest<B>,
    ) -> Option<Broken>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display,
    {
        match self.send(envelope, upgraded, rest).await {
            // The call has ended in order: there is nothing to reset. What is left of a request that
            // was answered early never comes, and whoever reads it must not wait for it.
            Ok(()) => {
                self.shared.calls.remove(self.call.id);
                if !self.call.has_ended() {
                    self.call.end(Over::Reset(ResetCode::Cancelled));
                }
                None
            }
            Err(Unsent::Broken(_)) => {
                self.break_off(ResetCode::Broken).await;
                Some(Broken::App)
            }
            Err(Unsent::Quiet) => {
                self.break_off(ResetCode::TimedOut).await;
                Some(Broken::AppStalled)
            }
            Err(Unsent::Untaken) => {
                self.break_off(ResetCode::TimedOut).await;
                Some(Broken::VisitorStalled)
            }
            Err(Unsent::Over(over)) => {
                self.read_out(over).await;
                Some(over.broken())
            }
        }
    }

    /// Resets the call after the data of its body: a reset that went before would take that with it.
    async fn break_off(&mut self, code: ResetCode) {
        self.code = code;
        let Ok(place) = self.shared.outbox.place().await else {
            return;
        };
        let call = self.call.id;
        if self.shared.calls.remove(call).is_some() {
            place.put(Frame::Reset { call, code });
            self.call.end(Over::Reset(code));
        }
    }

    async fn send<B>(
        &self,
        envelope: Bytes,
        upgraded: bool,
        rest: &mut Rest<B>,
    ) -> Result<(), Unsent>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display,
    {
        let (call, outbox) = (&self.call, &self.shared.outbox);
        rest.gather().await;
        let place = outbox.place().await?;
        if !rest.head(call, envelope, place) {
            // An upgraded connection may be quiet for as long as it likes.
            let idle = (!upgraded).then_some(self.shared.limits.stream_idle);
            // In a box, since most responses are small and have none.
            Box::pin(rest.send(call, outbox, idle, false)).await?;
        }
        Ok(())
    }
}

/// How long a local server may take to read what came of a request body that broke off.
const LAST: Duration = Duration::from_secs(5);

/// Reads a request's head as the local server is to have it.
fn request(head: &Bytes, known: &mut Known) -> Result<(Request<()>, Asks), DecodeError> {
    let (mut request, asks) = head::decode_request(head, known)?;
    replayable::check(&request)?;
    let headers = request.headers_mut();
    remove_hop_by_hop(headers);
    if let Some(protocol) = &asks.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    Ok((request, asks))
}

/// A response's head as it is sent, and whether it grants an upgrade.
fn envelope(mut head: response::Parts) -> (Bytes, bool) {
    head.headers.remove(CONNECTION);
    let upgrade = head.headers.remove(UPGRADE);
    let upgrade = upgrade.filter(|_| head.status == StatusCode::SWITCHING_PROTOCOLS);
    (
        head::encode_response(&head, upgrade.as_ref()),
        upgrade.is_some(),
    )
}
