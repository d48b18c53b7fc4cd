//! The inspections that the application asked for.

use std::collections::HashSet;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::ContainerId;

/// The containers that the application wants inspected. Only containers that are known to be alive are added,
/// so their number is bounded.
#[derive(Default)]
pub(crate) struct Refreshes {
    wanted: Mutex<HashSet<ContainerId>>,
    added: Notify,
}

impl Refreshes {
    fn locked(&self) -> MutexGuard<'_, HashSet<ContainerId>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, id: ContainerId) {
        self.locked().insert(id);
        self.added.notify_one();
    }

    /// Waits until there are any. Cancel safe.
    pub(crate) async fn requested(&self) {
        self.added.notified().await;
    }

    pub(crate) fn take(&self) -> HashSet<ContainerId> {
        take(&mut *self.locked())
    }

    /// Forgets all: a new connection inspects each container anyway.
    pub(crate) fn clear(&self) {
        self.take();
    }
}
