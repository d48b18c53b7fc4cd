//! One list after the other, each compared with the one before where nobody tells of changes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard, Notify};
use whalewatcher_core::ContainerId;

/// The lists of a connection: the watcher's own and those of polling. None is asked for before the one before is here, so
/// that the newer one is known.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// Who was alive by the newest.
    newest: Mutex<Option<HashSet<ContainerId>>>,
    /// Notified of each list, for what awaits the first one.
    arrived: Notify,
    /// Whether what differs is to be told.
    compared: AtomicBool,
}

impl Lists {
    /// From now on the stream of events tells what differs between lists.
    pub(crate) fn compare(&self) {
        self.compared.store(true, Ordering::Relaxed);
    }

    /// Keeps other lists from being asked for until this is dropped.
    pub(crate) async fn lock(&self) -> MutexGuard<'_, Option<HashSet<ContainerId>>> {
        self.newest.lock().await
    }

    /// Whether what differs is to be told.
    pub(crate) fn are_compared(&self) -> bool {
        self.compared.load(Ordering::Relaxed)
    }

    /// There is a list.
    pub(crate) fn notify(&self) {
        self.arrived.notify_one();
    }

    /// What the newest list shows as alive, once there is one.
    #[cfg(feature = "containerd")]
    pub(crate) async fn newest(&self) -> HashSet<ContainerId> {
        loop {
            if let Some(newest) = &*self.newest.lock().await {
                return newest.clone();
            }
            self.arrived.notified().await;
        }
    }

    /// Whether there was a list.
    pub(crate) async fn is_begun(&self) -> bool {
        self.newest.lock().await.is_some()
    }
}
