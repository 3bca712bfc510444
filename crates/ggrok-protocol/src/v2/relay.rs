//! The relay's end: many calls at once.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, HeaderValue, UPGRADE};
use http::{Request, Response, request};
use http_body::Body;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::admission::Frames;
use super::body::Incoming;
use super::call::{Call, Over};
use super::frame::Frame;
use super::head::{self, Asks};
use super::send::{Rest, Unsent};
use super::session::{Session, Shared};
use crate::error::ResetCode;
use crate::head_limit;
use crate::headers::{remove_hop_by_hop, requested_upgrade};
use crate::within::within;
use crate::{Account, CallError, DecodeError, Ending, Limits, MessageLimit, TunnelBody};

/// Makes the relay's end: where calls go in, and the session that carries them.
pub(crate) fn open(limits: Limits) -> (Line, Session) {
    let (shared, writer) = Shared::new(limits);
    let (closing, closed) = watch::channel(None);
    let frames = Frames {
        shared: Arc::clone(&shared),
        opens_calls: false,
    };
    let session = Session {
        limit: MessageLimit::new(Arc::new(frames)),
        shared: Arc::clone(&shared),
        writer,
        closing: closed,
        arrivals: None,
    };
    (Line { shared, closing }, session)
}

/// Where calls go in.
#[derive(Clone)]
pub(crate) struct Line {
    shared: Arc<Shared>,
    closing: watch::Sender<Option<Ending>>,
}

/// A call of ours. Dropping it before the response has come whole resets it.
#[derive(Debug)]
pub(crate) struct Live {
    call: Arc<Call>,
    shared: Arc<Shared>,
    upload: Option<Upload>,
}

/// A request's body on its way. Dropping it tells its task that the caller has left.
#[derive(Debug)]
struct Upload {
    task: JoinHandle<()>,
    _caller: oneshot::Sender<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        let uploads = |upload: &Upload| !upload.task.is_finished();
        if self.upload.as_ref().is_some_and(uploads) && !self.call.has_ended() {
            // The local server is to get what came of the body: its task resets the call after that.
            return;
        }
        if let Some(upload) = &self.upload {
            upload.task.abort();
        }
        let live = self.shared.calls.remove(self.call.id).is_some();
        if live && !self.call.has_ended() {
            self.shared.outbox.reset(self.call.id, ResetCode::Cancelled);
        }
    }
}

impl Line {
    /// Calls. What it returns does not keep the request's fields: they are written before it waits.
    pub(crate) fn call<B>(
        &self,
        request: Request<B>,
        account: Option<Account>,
        taken: impl FnOnce() + Send,
    ) -> impl Future<Output = Result<Response<TunnelBody>, CallError>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: fmt::Display,
    {
        let (head, body) = request.into_parts();
        let mut rest = Rest::of(body);
        let (envelope, asks) = envelope(head, !rest.has_ended());
        async move {
            let began = self.begin(envelope, asks.expect, account, &mut rest);
            let (call, is_whole) = began.await?;
            taken();
            let mut live = Live {
                call,
                shared: Arc::clone(&self.shared),
                upload: None,
            };
            let may_upgrade = asks.upgrade.is_some();
            if !is_whole {
                let (call, shared) = (Arc::clone(&live.call), Arc::clone(&self.shared));
                let (caller, left) = oneshot::channel();
                live.upload = Some(Upload {
                    task: tokio::spawn(upload(call, shared, rest, asks, left)),
                    _caller: caller,
                });
            }
            self.response(live, may_upgrade).await
        }
    }

    /// Puts a request's head on its way with what is at hand of its body, and returns whether that was all.
    /// A body that waits for a sign is not touched before.
    async fn begin<B>(
        &self,
        envelope: Bytes,
        waits: bool,
        account: Option<Account>,
        rest: &mut Rest<B>,
    ) -> Result<(Arc<Call>, bool), CallError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: fmt::Display,
    {
        if envelope.len() > head_limit::REQUEST {
            return Err(CallError::RequestHeadTooLarge);
        }
        if !waits {
            rest.gather().await;
            if let Some(failed) = rest.failed_at_once() {
                return Err(failed.into());
            }
        }
        let place = self.shared.outbox.place().await.map_err(Unsent::from)?;
        let announce = |call: &Call| rest.head(call, envelope, place);
        let opened = self.shared.calls.open(waits, account.as_ref(), announce);
        if matches!(opened, Err(CallError::Closed)) {
            // Where that is new to the session there are no numbers left, and the client has to come anew.
            self.close(Ending::GoingAway);
        }
        opened
    }

    async fn response(
        &self,
        mut live: Live,
        may_upgrade: bool,
    ) -> Result<Response<TunnelBody>, CallError> {
        let call = Arc::clone(&live.call);
        let mut head = poll_fn(|cx| call.poll_head(cx));
        let mut early = None;
        // The time counts from the last byte of the request. That of an upgrade has none.
        if let Some(upload) = live.upload.as_mut().filter(|_| !may_upgrade) {
            early = tokio::select! {
                biased;
                head = &mut head => Some(head),
                _ = &mut upload.task => None,
            };
        }
        let head = match early {
            Some(head) => Some(head),
            None => within(self.shared.limits.answer_timeout, head).await,
        };
        let head = head.ok_or(CallError::TimedOut)??;
        let (mut response, upgrade) = head::decode_response(&head, &mut self.shared.known())?;
        remove_hop_by_hop(response.headers_mut());
        if let Some(protocol) = upgrade {
            if !may_upgrade {
                return Err(DecodeError::Status(response.status().as_u16()).into());
            }
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol);
        }
        let outbox = self.shared.outbox.clone();
        let body = Incoming::new(call, outbox, response.headers(), None, live);
        let body = body.behind_head_of(head.len());
        Ok(response.map(|()| TunnelBody::response(body)))
    }

    /// Bytes that may be held for calls, and that are left of them.
    pub(crate) fn held(&self) -> (usize, usize) {
        let shared = &self.shared;
        (shared.limits.held, shared.calls.free_bytes())
    }

    pub(crate) fn close(&self, why: Ending) {
        self.closing.send_if_modified(|reason| {
            let first = reason.is_none();
            reason.get_or_insert(why);
            first
        });
    }

    /// Tells the client that no new calls will come.
    pub(crate) fn go_away(&self) {
        self.shared.outbox.go_away();
    }

    /// Waits until the client says that it takes no new calls.
    pub(crate) async fn going_away(&self) {
        self.shared.calls.going_away().await;
    }

    /// Waits until the calls of a client that goes away have finished.
    pub(crate) async fn finished(&self) {
        self.shared.calls.finished().await;
    }
}

/// A request's head as it is sent, and what it asks for besides.
fn envelope(mut head: request::Parts, has_body: bool) -> (Bytes, Asks) {
    let asks = Asks {
        upgrade: requested_upgrade(&head).cloned(),
        expect: head.headers.remove(EXPECT).is_some() && has_body,
    };
    head.headers.remove(CONNECTION);
    head.headers.remove(UPGRADE);
    (head::encode_request(&head, &asks), asks)
}

/// Sends the rest of a request's body. A body that breaks off or stalls ends the call, after what came of
/// it. So does a caller who leaves, for which the rest has [`LAST`].
async fn upload<B>(
    call: Arc<Call>,
    shared: Arc<Shared>,
    mut rest: Rest<B>,
    asks: Asks,
    left: oneshot::Receiver<()>,
) where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: fmt::Display,
{
    // An upgraded connection may be quiet for as long as it likes.
    let idle = asks.upgrade.is_none().then_some(shared.limits.stream_idle);
    let mut has_left = false;
    let mut sending = pin!(rest.send(&call, &shared.outbox, idle, asks.expect));
    let sent = tokio::select! {
        sent = &mut sending => Some(sent),
        _ = left => {
            has_left = true;
            within(LAST, sending).await
        }
    };
    let (code, over) = match sent {
        Some(Ok(())) if !has_left => return,
        Some(Err(Unsent::Over(_))) => return,
        Some(Ok(())) | None => (ResetCode::Cancelled, Over::BodyBroken),
        Some(Err(Unsent::Broken(_))) => (ResetCode::Broken, Over::BodyBroken),
        Some(Err(Unsent::Quiet)) => (ResetCode::TimedOut, Over::BodyStalled),
        Some(Err(Unsent::Untaken)) => (ResetCode::TimedOut, Over::BodyUntaken),
    };
    let live = shared.calls.remove(call.id).is_some();
    call.end(over);
    if !live {
        return;
    }
    let call = call.id;
    match code {
        // Nobody reads on, so it need not wait for the data.
        ResetCode::Cancelled => shared.outbox.reset(call, code),
        // Fails where the session has ended, and the call with it.
        _ => drop(shared.outbox.data(Frame::Reset { call, code }).await),
    }
}

/// How long the body of a caller who has left may still be sent.
const LAST: Duration = Duration::from_secs(1);

impl From<Over> for CallError {
    fn from(over: Over) -> Self {
        match over {
            Over::Reset(ResetCode::Refused) => Self::TooManyCalls,
            Over::Reset(code) => Self::Reset(code),
            Over::Closed => Self::Closed,
            Over::BodyBroken => Self::BodyBroken("behind its head".into()),
            Over::BodyStalled => Self::BodyStalled,
            Over::BodyUntaken => Self::TimedOut,
            Over::HeadTooLarge => Self::ResponseHeadTooLarge,
            Over::NoRoom => Self::TooManyBytes,
        }
    }
}

impl From<Unsent> for CallError {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Broken(error) => Self::BodyBroken(error),
            Unsent::Quiet => Self::BodyStalled,
            Unsent::Untaken => Self::TimedOut,
            Unsent::Over(over) => over.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Empty;

    use super::{CallError, Ending, Limits, open};

    #[tokio::test]
    async fn a_tunnel_without_numbers_ends() {
        let (line, session) = open(Limits::default());
        line.shared.calls.use_up_numbers();
        let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        let refused = line.call(request, None, || {}).await;
        assert!(matches!(refused, Err(CallError::Closed)));
        assert_eq!(*session.closing.borrow(), Some(Ending::GoingAway));
    }
}
