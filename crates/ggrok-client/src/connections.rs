//! The connections of one client: the newest, and those to relays that are about to stop.

use std::collections::VecDeque;
use std::panic::resume_unwind;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::connect::Registered;
use crate::serve::{Served, Service};

/// The connections of one client.
pub(crate) struct Connections {
    serving: JoinSet<Served>,
    /// Those to relays that are about to stop, the oldest first, and what ends each.
    leaving: VecDeque<(Id, CancellationToken)>,
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self {
            serving: JoinSet::new(),
            leaving: VecDeque::new(),
        }
    }

    /// Serves the newest connection until it has ended, and returns how; or until its relay is going
    /// away, and returns nothing: then its calls finish beside the next.
    pub(crate) async fn serve(
        &mut self,
        registered: Registered,
        service: &Service,
    ) -> Option<Served> {
        let going_away = CancellationToken::new();
        let stop = service.stop.child_token();
        let service = Service {
            stop: stop.clone(),
            ..service.clone()
        };
        let (socket, dialect) = (registered.socket, registered.dialect);
        let serving = service.serve(socket, dialect, going_away.clone());
        let newest = self.serving.spawn(serving).id();
        loop {
            tokio::select! {
                biased;
                Some(joined) = self.serving.join_next_with_id() => match joined {
                    Ok((id, served)) if id == newest => return Some(served),
                    // An older one has done its part.
                    Ok((id, _)) => self.leaving.retain(|(leaving, _)| *leaving != id),
                    Err(panicked) => resume_unwind(panicked.into_panic()),
                },
                () = going_away.cancelled() => break,
            }
        }
        self.leaving.push_back((newest, stop));
        if self.leaving.len() > LEAVING
            && let Some((_, oldest)) = self.leaving.pop_front()
        {
            oldest.cancel();
        }
        None
    }

    /// Waits until all have ended, which have heard of the stop and say farewell.
    pub(crate) async fn finish(mut self) {
        while self.serving.join_next().await.is_some() {}
    }
}

/// Relays that may be about to stop at a time. Where one is replaced, and its successor too, it is two;
/// more are a relay that says so to everybody, and never stops.
const LEAVING: usize = 4;
