//! State that a task adds to as something comes, and that others wait on.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::fixture::locked;
use crate::recorder::LIMIT;

/// The state, and the task that ends when this is dropped.
pub(crate) struct Growing<T> {
    state: Arc<Mutex<T>>,
    /// How often something was added.
    grown: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

/// What the task adds with.
pub(crate) struct Adding<T> {
    state: Arc<Mutex<T>>,
    growing: watch::Sender<usize>,
}

impl<T> Adding<T> {
    pub(crate) fn add(&self, add: impl FnOnce(&mut T)) {
        add(&mut locked(&self.state));
        self.growing.send_modify(|count| *count += 1);
    }
}

impl<T> Growing<T> {
    pub(crate) fn start<F>(state: T, task: impl FnOnce(Adding<T>) -> F) -> Growing<T>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let state = Arc::new(Mutex::new(state));
        let (growing, grown) = watch::channel(0);
        let task = tokio::spawn(task(Adding { state: state.clone(), growing }));
        Growing { state, grown, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn so_far(&self) -> MutexGuard<'_, T> {
        locked(&self.state)
    }

    /// Returns how often something was added.
    pub(crate) fn count(&self) -> usize {
        *self.grown.borrow()
    }

    /// Waits until something is added, but no longer than this. Callers look again in any case.
    pub(crate) async fn next_within(&self, limit: Duration) {
        let mut grown = self.grown.clone();
        grown.mark_unchanged();
        let _ = timeout(limit, grown.changed()).await;
    }

    /// Waits until the state satisfies this, and returns whether it does: not if it takes too long, or the
    /// task ends before.
    pub(crate) async fn until(&self, mut holds: impl FnMut(&T) -> bool) -> bool {
        let mut grown = self.grown.clone();
        let waiting = async {
            loop {
                grown.mark_unchanged();
                if holds(&self.so_far()) || grown.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(LIMIT, waiting).await;
        holds(&self.so_far())
    }
}
