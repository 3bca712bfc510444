//! The table of live calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::call::{Call, CallId, Over};
use super::window::{Budget, INITIAL, Window};
use crate::{Account, CallError, Limits, head_limit};

/// The live calls of one tunnel.
#[derive(Debug)]
pub(crate) struct Calls {
    table: Mutex<Table>,
    /// Wakes whoever waits for the client to go away, or for its calls to finish.
    changed: Notify,
    budget: Budget,
    limits: Limits,
}

#[derive(Debug)]
struct Table {
    live: BTreeMap<CallId, Arc<Call>>,
    last: CallId,
    /// Calls of the relay's that were reset before their heads came: control overtakes data.
    unwanted: Vec<CallId>,
    /// The client takes no new calls.
    going_away: bool,
    closed: bool,
}

/// Why the relay's call is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Its id is not a new one.
    Violation,
    /// It was reset before it came.
    Unwanted,
    /// There are as many calls, or bytes, as there may be, or its head is over the limit.
    Full,
}

impl Calls {
    pub(crate) fn new(limits: Limits) -> Self {
        let table = Table {
            live: BTreeMap::new(),
            last: CallId::NONE,
            unwanted: Vec::new(),
            going_away: false,
            closed: false,
        };
        Self {
            table: Mutex::new(table),
            changed: Notify::new(),
            budget: Budget::new(limits.held, limits.calls),
            limits,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a call of ours. `waits` says that its body starts without credit. The window is reserved in `account`.
    /// `announce` puts its head on its way before another call can get a number: the peer takes them in order alone.
    pub(crate) fn open<T>(
        &self,
        waits: bool,
        account: Option<&Account>,
        announce: impl FnOnce(&Call) -> T,
    ) -> Result<(Arc<Call>, T), CallError> {
        let mut table = self.table();
        if table.closed {
            return Err(CallError::Closed);
        }
        if table.going_away {
            return Err(CallError::GoingAway);
        }
        if table.live.len() >= self.limits.calls {
            return Err(CallError::TooManyCalls);
        }
        let window = Window::open(&self.budget, account, self.limits.window);
        let window = window.ok_or(CallError::TooManyBytes)?;
        // After four billion calls a tunnel has to start anew.
        table.last = table.last.next().ok_or(CallError::Closed)?;
        let credit = if waits { 0 } else { INITIAL };
        let call = Arc::new(Call::new(table.last, window, credit));
        table.live.insert(call.id, Arc::clone(&call));
        let announced = announce(&call);
        Ok((call, announced))
    }

    /// Takes a call of the relay's, with a head of so many bytes.
    pub(crate) fn take(&self, id: CallId, head: usize) -> Result<Arc<Call>, NotTaken> {
        let mut table = self.table();
        if id <= table.last {
            return Err(NotTaken::Violation);
        }
        table.last = id;
        let unwanted = table.unwanted.contains(&id);
        table.unwanted.retain(|unwanted| *unwanted > id);
        if unwanted {
            return Err(NotTaken::Unwanted);
        }
        if table.live.len() >= self.limits.calls || head > head_limit::REQUEST {
            return Err(NotTaken::Full);
        }
        let mut window =
            Window::open(&self.budget, None, self.limits.window).ok_or(NotTaken::Full)?;
        // It is kept as it came, and once more while it is written to the local server.
        if !window.charge(2 * head) {
            return Err(NotTaken::Full);
        }
        let call = Arc::new(Call::new(id, window, INITIAL));
        table.live.insert(id, Arc::clone(&call));
        Ok(call)
    }

    /// Bytes that windows may still promise.
    pub(crate) fn free_bytes(&self) -> usize {
        self.budget.free()
    }

    pub(crate) fn find(&self, id: CallId) -> Option<Arc<Call>> {
        self.table().live.get(&id).cloned()
    }

    pub(crate) fn remove(&self, id: CallId) -> Option<Arc<Call>> {
        let mut table = self.table();
        let removed = table.live.remove(&id);
        if table.going_away && table.live.is_empty() {
            self.changed.notify_waiters();
        }
        removed
    }

    /// Opens no more calls: the client is about to stop.
    pub(crate) fn go_away(&self) {
        self.table().going_away = true;
        self.changed.notify_waiters();
    }

    /// Waits until no more calls are opened.
    pub(crate) async fn going_away(&self) {
        self.until(|table| table.going_away).await;
    }

    /// Waits, where no more calls are opened, until none is live.
    pub(crate) async fn finished(&self) {
        self.until(|table| table.live.is_empty()).await;
    }

    async fn until(&self, is_so: impl Fn(&Table) -> bool) {
        loop {
            // Before the look, so that no change is missed between the two.
            let changed = self.changed.notified();
            if is_so(&self.table()) {
                return;
            }
            changed.await;
        }
    }

    /// Whether no call is live.
    pub(crate) fn is_idle(&self) -> bool {
        self.table().live.is_empty()
    }

    /// Gives a call of the relay's up, and returns it where it has come.
    pub(crate) fn give_up(&self, id: CallId) -> Option<Arc<Call>> {
        let mut table = self.table();
        if id > table.last && table.unwanted.len() < self.limits.calls {
            table.unwanted.push(id);
        }
        table.live.remove(&id)
    }

    #[cfg(test)]
    pub(crate) fn use_up_numbers(&self) {
        self.table().last = CallId::new(u32::MAX);
    }

    /// Ends all calls, and refuses new ones.
    pub(crate) fn close(&self) {
        let live = {
            let mut table = self.table();
            table.closed = true;
            std::mem::take(&mut table.live)
        };
        for call in live.values() {
            call.end(Over::Closed);
        }
    }
}
