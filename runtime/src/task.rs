//! Tasks that end with their owner.

use std::future::Future;

use tokio::task::{JoinError, JoinHandle};

/// A spawned task. Dropping it aborts the task.
#[derive(Debug)]
#[must_use = "dropping a task aborts it"]
pub struct Task<T = ()>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    /// Spawns the future on the current runtime.
    pub fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    /// Waits for the end of the task. Dropping the task still aborts it.
    ///
    /// # Errors
    /// The task panicked.
    pub async fn join(&mut self) -> Result<T, JoinError> {
        (&mut self.0).await
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
