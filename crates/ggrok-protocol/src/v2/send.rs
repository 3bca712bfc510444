//! A message that goes out: its head with what is at hand of the body, and then the rest.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::poll_immediate;
use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::call::{Call, Over};
use super::frame::Frame;
use super::head::encode_trailers;
use super::outbox::{Outbox, Place, SessionEnded};
use crate::BodyLength;
use crate::head_limit;
use crate::headers::MAX_FIELDS;
use crate::within::within;

/// Bytes of one frame of data.
pub(crate) const CHUNK: usize = 64 << 10;

/// Bytes of body that go along with a head. Less than a body's initial credit.
const ALONG: usize = 16 << 10;

/// Why a body was not sent to its end.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// It broke.
    Broken(String),
    /// It said nothing for too long.
    Quiet,
    /// The peer took nothing of it for too long.
    Untaken,
    /// The call is over.
    Over(Over),
}

impl From<SessionEnded> for Unsent {
    fn from(SessionEnded: SessionEnded) -> Self {
        Self::Over(Over::Closed)
    }
}

impl From<Over> for Unsent {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}

/// What is left of a body behind its head.
pub(crate) struct Rest<B> {
    body: B,
    /// Taken from the body, and not sent yet.
    data: Bytes,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Why the body broke off. It is reported after what came before has been sent.
    failed: Option<Unsent>,
    length: BodyLength,
}

impl<B> Rest<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    pub(crate) fn of(body: B) -> Self {
        Self {
            ended: body.is_end_stream(),
            length: BodyLength {
                bytes: 0,
                announced: body.size_hint().exact(),
            },
            body,
            data: Bytes::new(),
            trailers: None,
            failed: None,
        }
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// How much of the body has come.
    pub(crate) const fn length(&self) -> BodyLength {
        self.length
    }

    /// The failure of a body that broke off before its first byte.
    pub(crate) fn failed_at_once(&mut self) -> Option<Unsent> {
        self.failed.take_if(|_| self.data.is_empty())
    }

    /// Puts the head in its place with what is at hand of the body, and returns whether that was all.
    pub(crate) fn head(&mut self, call: &Call, head: Bytes, place: Place<'_>) -> bool {
        let along = self.data.split_to(self.data.len().min(ALONG));
        let taken = call.take_credit(along.len());
        debug_assert!(taken, "the initial credit covers what goes along");
        let end = self.ended && self.data.is_empty() && self.trailers.is_none();
        place.put(Frame::Head {
            call: call.id,
            head,
            body: along,
            end,
        });
        end
    }

    /// Takes as much of the body as is ready, to go along with its head. So a small message is one frame.
    /// Whoever makes the body gets one turn to put it there: the task that reads the local server's
    /// socket, above all. A body that breaks off meanwhile keeps its failure until [`send`](Self::send).
    pub(crate) async fn gather(&mut self) {
        let mut patient = true;
        let mut gathered = BytesMut::new();
        while !self.is_over() && self.data.len().max(gathered.len()) < ALONG {
            let next = poll_immediate(self.body.frame()).await;
            let Some(frame) = next else {
                if !std::mem::take(&mut patient) {
                    break;
                }
                yield_now().await;
                continue;
            };
            let before = std::mem::take(&mut self.data);
            self.keep(frame);
            if !before.is_empty() || !gathered.is_empty() {
                gathered.extend_from_slice(&before);
                gathered.extend_from_slice(&std::mem::take(&mut self.data));
            }
        }
        if !gathered.is_empty() {
            self.data = gathered.freeze();
        }
    }

    /// Whether nothing more comes from the body.
    const fn is_over(&self) -> bool {
        self.ended || self.failed.is_some()
    }

    /// Keeps a frame of the body until it is sent.
    fn keep(&mut self, frame: Option<Result<http_body::Frame<Bytes>, B::Error>>) {
        match frame {
            None => self.ended = true,
            Some(Err(error)) => self.failed = Some(Unsent::Broken(error.to_string())),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.length.bytes += data.len() as u64;
                    self.data = data;
                    self.ended = self.body.is_end_stream();
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().ok();
                    let is_over = |trailers: &HeaderMap| {
                        trailers.len() > MAX_FIELDS || !head_limit::fit_trailers(trailers)
                    };
                    if trailers.as_ref().is_some_and(is_over) {
                        self.failed = Some(Unsent::Broken("too many trailers".into()));
                        return;
                    }
                    self.trailers = trailers;
                    self.ended = true;
                }
            },
        }
    }

    /// Sends the rest to its end, or up to where it broke off. `idle` bounds each pause of the peer, and of the body while the
    /// other one of the call pauses too.
    pub(crate) async fn send(
        &mut self,
        call: &Call,
        outbox: &Outbox,
        idle: Option<Duration>,
        waits: bool,
    ) -> Result<(), Unsent> {
        if waits {
            // The first credit is the sign to begin.
            let sign = poll_fn(|cx| call.poll_credit(cx, 1));
            let taken = taken(idle, sign).await??;
            call.add_credit(taken).ok();
        }
        loop {
            while !self.data.is_empty() {
                let most = u32::try_from(self.data.len().min(CHUNK)).unwrap_or(u32::MAX);
                let credit = taken(idle, poll_fn(|cx| call.poll_credit(cx, most))).await??;
                let body = self.data.split_to(credit as usize);
                let end = self.ended && self.data.is_empty() && self.trailers.is_none();
                let call = call.id;
                outbox.data(Frame::Data { call, body, end }).await?;
                if end {
                    return Ok(());
                }
            }
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            if self.ended {
                return self.finish(call, outbox).await;
            }
            let over = poll_fn(|cx| call.poll_unwanted(cx));
            let frame = tokio::select! {
                frame = unless_quiet(call, idle, self.body.frame()) => frame?,
                over = over => return Err(over.into()),
            };
            self.keep(frame);
        }
    }

    async fn finish(&mut self, call: &Call, outbox: &Outbox) -> Result<(), Unsent> {
        let call = call.id;
        let frame = match self.trailers.take() {
            Some(trailers) => Frame::Trailers {
                call,
                fields: encode_trailers(&trailers),
            },
            None => Frame::Data {
                call,
                body: Bytes::new(),
                end: true,
            },
        };
        Ok(outbox.data(frame).await?)
    }
}

/// Waits for a body that may be quiet for as long as the other body of its call is not: many a
/// visitor listens to a stream, and says nothing for hours.
async fn unless_quiet<F: Future>(
    call: &Call,
    idle: Option<Duration>,
    frame: F,
) -> Result<F::Output, Unsent> {
    let mut frame = pin!(frame);
    let mut since = Instant::now();
    loop {
        let left = idle.map(|idle| idle.saturating_sub(since.elapsed()));
        match (bounded(left, &mut frame).await, call.heard()) {
            (Some(frame), _) => return Ok(frame),
            (None, Some(heard)) if heard > since => since = heard,
            (None, _) => return Err(Unsent::Quiet),
        }
    }
}

/// Waits for credit.
async fn taken<F: Future>(idle: Option<Duration>, credit: F) -> Result<F::Output, Unsent> {
    bounded(idle, credit).await.ok_or(Unsent::Untaken)
}

async fn bounded<F: Future>(idle: Option<Duration>, future: F) -> Option<F::Output> {
    match idle {
        Some(idle) => within(idle, future).await,
        None => Some(future.await),
    }
}
