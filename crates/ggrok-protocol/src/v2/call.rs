//! One live call, as the session and the two bodies share it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::inbox::Inbox;
use super::window::{Overflow, Window};
use crate::Broken;
use crate::error::ResetCode;
use crate::head_limit;

/// Identifies a call on its tunnel. The relay counts up from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(u32);

impl CallId {
    /// The tunnel itself.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    pub(crate) const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

/// Why a call is over before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// One side reset it.
    Reset(ResetCode),
    /// The tunnel is gone.
    Closed,
    /// The body that goes out broke off behind its head.
    BodyBroken,
    /// The body that goes out stalled behind its head.
    BodyStalled,
    /// The peer took nothing more of the body that goes out.
    BodyUntaken,
    /// The response's head is over the limit.
    HeadTooLarge,
    /// The tunnel's budget has no room for what came.
    NoRoom,
}

impl Over {
    /// Who ended the response's body, as the client hears of it.
    pub(crate) const fn broken(self) -> Broken {
        match self {
            // Or the request's body broke off.
            Self::Reset(ResetCode::Cancelled | ResetCode::Broken) | Self::BodyBroken => {
                Broken::VisitorLeft
            }
            Self::Reset(ResetCode::TimedOut) | Self::BodyStalled | Self::BodyUntaken => {
                Broken::VisitorStalled
            }
            Self::Reset(_) | Self::Closed | Self::HeadTooLarge | Self::NoRoom => Broken::Tunnel,
        }
    }
}

/// One live call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The response's head, at the relay, until the caller takes it.
    head: Option<Bytes>,
    headed: bool,
    /// What came of the body and was not read. The window bounds it.
    inbox: Inbox,
    window: Window,
    /// The body that comes in has ended; its trailers, until they are read.
    ended: bool,
    trailers: Option<HeaderMap>,
    /// Nobody reads the body that comes in any more.
    deaf: bool,
    /// When something last came of it.
    heard: Option<Instant>,
    /// What may be sent of the body that goes out.
    credit: u32,
    over: Option<Over>,
    /// Who waits for the head or the end of the call, for the body, for credit.
    watcher: Option<Waker>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What the peer may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation;

impl From<Overflow> for Violation {
    fn from(Overflow: Overflow) -> Self {
        Self
    }
}

/// The next of a body that comes in.
pub(crate) enum Piece {
    /// Bytes, and the credit to grant for having read them.
    Bytes(Bytes, Option<u32>),
    Trailers(HeaderMap),
    End,
}

impl Call {
    /// A call whose outgoing body starts with this credit.
    pub(crate) fn new(id: CallId, window: Window, credit: u32) -> Self {
        let state = State {
            head: None,
            headed: false,
            inbox: Inbox::default(),
            window,
            ended: false,
            trailers: None,
            deaf: false,
            heard: None,
            credit,
            over: None,
            watcher: None,
            reader: None,
            writer: None,
        };
        Self {
            id,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a response's head in.
    pub(crate) fn deliver_head(&self, head: Bytes) -> Result<(), Violation> {
        let mut state = self.state();
        if std::mem::replace(&mut state.headed, true) {
            return Err(Violation);
        }
        if head.len() > head_limit::RESPONSE {
            state.end(Over::HeadTooLarge);
        } else if !state.window.charge(head.len()) {
            state.end(Over::NoRoom);
        } else {
            state.head = Some(head);
            wake(&mut state.watcher);
        }
        Ok(())
    }

    /// Takes bytes of the body in, which came at this time.
    pub(crate) fn deliver(&self, body: Bytes, end: bool, came: Instant) -> Result<(), Violation> {
        let mut state = self.state();
        if state.ended {
            return Err(Violation);
        }
        state.window.receive(body.len())?;
        state.ended = end;
        state.heard = Some(came);
        if !state.deaf && !body.is_empty() {
            state.inbox.push(body);
        }
        wake(&mut state.reader);
        Ok(())
    }

    /// Takes the end of the body in, with trailers that came as so many bytes. Returns whether the budget has
    /// room for them.
    pub(crate) fn deliver_trailers(
        &self,
        trailers: HeaderMap,
        length: usize,
    ) -> Result<bool, Violation> {
        let mut state = self.state();
        if state.ended {
            return Err(Violation);
        }
        if !state.window.charge(length) {
            return Ok(false);
        }
        state.ended = true;
        state.trailers = Some(trailers);
        wake(&mut state.reader);
        Ok(true)
    }

    /// Takes credit in.
    pub(crate) fn add_credit(&self, credit: u32) -> Result<(), Violation> {
        let mut state = self.state();
        state.credit = state.credit.checked_add(credit).ok_or(Violation)?;
        wake(&mut state.writer);
        Ok(())
    }

    /// Ends the call before its time. The first reason counts. What came of the body before can still
    /// be read.
    pub(crate) fn end(&self, over: Over) {
        self.state().end(over);
    }

    /// Drops what comes of the body from now on.
    pub(crate) fn stop_reading(&self) {
        let mut state = self.state();
        state.deaf = true;
        state.inbox.clear();
        wake(&mut state.watcher);
    }

    /// Waits until nobody reads the body that comes in any more. Of an empty one nobody has to.
    pub(crate) fn poll_read_out(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.deaf || state.heard.is_none() {
            return Poll::Ready(());
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// When something last came of the body that comes in.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.state().heard
    }

    /// Whether the body that comes in has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Waits for the response's head.
    pub(crate) fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<Bytes, Over>> {
        let mut state = self.state();
        if let Some(head) = state.head.take() {
            return Poll::Ready(Ok(head));
        }
        if let Some(over) = state.over {
            return Poll::Ready(Err(over));
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until the call is over before its time.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<Over> {
        let mut state = self.state();
        if let Some(over) = state.over {
            return Poll::Ready(over);
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits, as whoever sends the body, until the call is over before its time.
    pub(crate) fn poll_unwanted(&self, cx: &Context<'_>) -> Poll<Over> {
        let mut state = self.state();
        if let Some(over) = state.over {
            return Poll::Ready(over);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits for the next of the body.
    pub(crate) fn poll_piece(&self, cx: &Context<'_>) -> Poll<Result<Piece, Over>> {
        let mut state = self.state();
        if let Some(body) = state.inbox.pop() {
            // A body that has ended needs no more credit.
            let is_open = !state.ended && state.over.is_none();
            let credit = is_open.then(|| state.window.read(body.len())).flatten();
            return Poll::Ready(Ok(Piece::Bytes(body, credit)));
        }
        if let Some(over) = state.over.filter(|_| !state.ended) {
            return Poll::Ready(Err(over));
        }
        if let Some(trailers) = state.trailers.take() {
            return Poll::Ready(Ok(Piece::Trailers(trailers)));
        }
        if state.ended {
            return Poll::Ready(Ok(Piece::End));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether nothing more of the body will come.
    pub(crate) fn is_drained(&self) -> bool {
        let state = self.state();
        state.ended && state.inbox.is_empty() && state.trailers.is_none()
    }

    /// Waits for credit, and takes up to `most` bytes of it.
    pub(crate) fn poll_credit(&self, cx: &Context<'_>, most: u32) -> Poll<Result<u32, Over>> {
        let mut state = self.state();
        if let Some(over) = state.over {
            return Poll::Ready(Err(over));
        }
        if state.credit > 0 || most == 0 {
            let taken = state.credit.min(most);
            state.credit -= taken;
            return Poll::Ready(Ok(taken));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes `bytes` of credit at once, where there is so much.
    pub(crate) fn take_credit(&self, bytes: usize) -> bool {
        let mut state = self.state();
        let left = u32::try_from(bytes).ok();
        let left = left.and_then(|bytes| state.credit.checked_sub(bytes));
        if let Some(left) = left {
            state.credit = left;
        }
        left.is_some()
    }
}

impl State {
    fn end(&mut self, over: Over) {
        self.over.get_or_insert(over);
        wake(&mut self.watcher);
        wake(&mut self.reader);
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
