//! The tasks that belong to one connection and end with it.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

/// Owns the tasks of a connection: when it is dropped they are aborted, and none can be spawned any more.
///
/// For adapters whose libraries have connections driven by tasks, which would otherwise outlive whoever wanted them.
#[derive(Debug)]
pub struct Tasks(Spawner);

/// Spawns tasks that belong to [`Tasks`].
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Mutex<Option<JoinSet<()>>>>);

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Spawner(Arc::new(Mutex::new(Some(JoinSet::new())))))
    }

    /// What spawns them.
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
    /// Runs the task until it ends or its owner is dropped; not at all if that is gone already. To be called within a
    /// tokio runtime.
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
    async fn dropping_the_owner_ends_its_tasks_and_no_more_come() {
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
        assert!(ended.await.is_err(), "it was never run");
    }
}
