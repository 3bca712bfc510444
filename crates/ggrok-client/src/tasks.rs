//! The tasks of one HTTP/2 connection.

use hyper::rt::Executor;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Runs the tasks of a connection. A clone runs the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Tasks(CancellationToken);

impl Tasks {
    /// Begins without a task. When the guard is dropped, all tasks end.
    pub(crate) fn new() -> (Self, DropGuard) {
        let over = CancellationToken::new();
        (Self(over.clone()), over.drop_guard())
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(task));
    }
}
