//! The newest list of a connection, with which the next one is compared.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard, Notify};
use whalewatcher_core::ContainerId;

/// The lists of a connection, of the watcher and of polling. Each is requested only after the previous one
/// has arrived, so that it is known which one is newer.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// The IDs in the newest list.
    newest: Mutex<Option<HashSet<ContainerId>>>,
    /// Notified of each list, for callers that wait for the first one.
    arrived: Notify,
    /// Whether differences between lists are reported as events.
    compared: AtomicBool,
}

impl Lists {
    /// Makes differences between lists be reported as events from now on.
    pub(crate) fn compare(&self) {
        self.compared.store(true, Ordering::Relaxed);
    }

    /// Locks the newest list; other lists wait until the guard is dropped.
    pub(crate) async fn lock(&self) -> MutexGuard<'_, Option<HashSet<ContainerId>>> {
        self.newest.lock().await
    }

    /// Whether differences between lists are reported as events.
    pub(crate) fn are_compared(&self) -> bool {
        self.compared.load(Ordering::Relaxed)
    }

    /// Wakes a caller that waits for the first list.
    pub(crate) fn notify(&self) {
        self.arrived.notify_one();
    }

    /// Returns the IDs in the newest list; waits for the first one.
    #[cfg(feature = "containerd")]
    pub(crate) async fn newest(&self) -> HashSet<ContainerId> {
        loop {
            if let Some(newest) = &*self.newest.lock().await {
                return newest.clone();
            }
            self.arrived.notified().await;
        }
    }

    /// Returns whether a list has arrived.
    pub(crate) async fn is_begun(&self) -> bool {
        self.newest.lock().await.is_some()
    }
}
