//! The changes of a watcher's status.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::status::Status;

/// How many times a subscriber lagged. Subscribers count that, apart from the status, which the watch writes.
#[derive(Clone, Default)]
pub(crate) struct Lagged(Arc<AtomicU64>);

impl Lagged {
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns the status with this count.
    pub(crate) fn count_in(&self, mut status: Status) -> Status {
        status.counters.lagged = self.total();
        status
    }
}

/// Follows how a watcher fares.
///
/// It hands out copies only: whoever looks at a status does not hold up the watcher.
#[derive(Clone)]
pub struct StatusFollower {
    receiver: watch::Receiver<Status>,
    lagged: Lagged,
}

impl StatusFollower {
    pub(crate) fn new(receiver: watch::Receiver<Status>, lagged: Lagged) -> Self {
        Self { receiver, lagged }
    }

    /// The status now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.lagged.count_in(self.receiver.borrow().clone())
    }

    /// Waits until something but the counters has changed since the last call, and returns the status then; `None` if
    /// the watcher is gone. Changes that follow each other quickly are seen as one.
    pub async fn changed(&mut self) -> Option<Status> {
        self.receiver.changed().await.ok()?;
        Some(self.lagged.count_in(self.receiver.borrow_and_update().clone()))
    }

    /// Waits for a status like that, and returns it; at once if it is so already; `None` if the watcher is gone.
    pub async fn wait_for(&mut self, condition: impl FnMut(&Status) -> bool) -> Option<Status> {
        let status = self.receiver.wait_for(condition).await.ok()?.clone();
        Some(self.lagged.count_in(status))
    }
}

impl fmt::Debug for StatusFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StatusFollower").field(&self.status()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::watch::status::Phase;

    #[tokio::test]
    async fn a_follower_sees_what_changes_and_hears_of_the_end() {
        let sender = watch::Sender::new(Status::new(Phase::Idle));
        let mut follower = StatusFollower::new(sender.subscribe(), Lagged::default());
        assert!(format!("{follower:?}").starts_with("StatusFollower(Status { phase: Idle"));
        sender.send_replace(Status::new(Phase::Connecting));
        assert!(matches!(follower.changed().await.unwrap().phase, Phase::Connecting));
        sender.send_replace(Status::new(Phase::Live { since: SystemTime::UNIX_EPOCH }));
        assert!(follower.status().is_live());
        assert!(follower.wait_for(Status::is_live).await.unwrap().is_live());
        drop(sender);
        assert!(follower.changed().await.is_none());
        assert!(follower.wait_for(|status| !status.is_live()).await.is_none());
    }
}
