//! Follows the status of a watcher.

use std::fmt;

use tokio::sync::watch;

use super::status::Status;
use crate::publication::Lagged;

impl Lagged {
    /// Sets the count in a status.
    pub(crate) fn count_in(&self, mut status: Status) -> Status {
        status.counters.lagged = self.total();
        status
    }
}

/// Follows the status of a watcher. It returns copies, so that a reader never blocks the watcher.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # use whalewatcher_core::{scripted::Engine, watch};
/// # let watcher = watch(Engine::new());
/// let mut follower = watcher.follow_status();
/// let live = follower.wait_for(|status| status.is_live()).await;
/// assert!(live.is_some_and(|status| status.is_live()));
/// # }
/// ```
#[derive(Clone)]
pub struct StatusFollower {
    receiver: watch::Receiver<Status>,
    lagged: Lagged,
}

impl StatusFollower {
    pub(crate) fn new(receiver: watch::Receiver<Status>, lagged: Lagged) -> Self {
        Self { receiver, lagged }
    }

    /// Returns the current status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.lagged.count_in(self.receiver.borrow().clone())
    }

    /// Waits until anything but the counters changed since the last call, and returns the status; `None` if
    /// the watcher was dropped. Several changes in quick succession may be returned as one.
    pub async fn changed(&mut self) -> Option<Status> {
        self.receiver.changed().await.ok()?;
        Some(self.lagged.count_in(self.receiver.borrow_and_update().clone()))
    }

    /// Waits until the status fulfils a condition, and returns it; at once if it already does. `None` if the
    /// watcher was dropped.
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
    async fn a_follower_returns_changes_and_the_end() {
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
