//! Tasks that end with the connection that owns them.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

/// Owns the tasks of a connection: dropping it aborts them, and later ones are not spawned.
///
/// For adapters with libraries that spawn tasks, which would otherwise outlive the connection.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use whalewatcher_core::adapter::Tasks;
///
/// let tasks = Tasks::new();
/// tasks.spawner().spawn(std::future::pending());
/// drop(tasks); // aborts it
/// # }
/// ```
#[derive(Debug)]
pub struct Tasks(Spawner);

/// Spawns tasks that a [`Tasks`] owns.
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Mutex<Option<JoinSet<()>>>>);

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// Creates an owner without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self(Spawner(Arc::new(Mutex::new(Some(JoinSet::new())))))
    }

    /// Returns a spawner of tasks that this owns.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.0.clone()
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        drop(self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Spawner {
    /// Spawns a task that is aborted when its owner is dropped; does nothing if the owner was dropped already. Must be
    /// called within a tokio runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = tasks.as_mut() {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn dropping_the_owner_aborts_its_tasks_and_spawns_no_more() {
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        let (alive, ended) = oneshot::channel::<()>();
        spawner.spawn(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        drop(tasks);
        assert!(ended.await.is_err(), "the task was ended");
        let (alive, ended) = oneshot::channel::<()>();
        spawner.spawn(async move {
            let _ = alive.send(());
        });
        assert!(ended.await.is_err(), "it was never spawned");
    }
}
