//! The statuses of several watchers.

use std::future::pending;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use whalewatcher_core::{StatusFollower, Watcher};

/// Follows the statuses of several watchers, each until the watcher is closed.
#[derive(Default)]
pub(crate) struct Statuses(FuturesUnordered<BoxFuture<'static, Option<StatusFollower>>>);

impl Statuses {
    /// Follows this one too.
    pub(crate) fn follow(&self, watcher: &dyn Watcher) {
        self.0.push(Box::pin(next(watcher.follow_status())));
    }

    /// Resolves when a status has changed. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        loop {
            match self.0.next().await {
                Some(Some(follower)) => return self.0.push(Box::pin(next(follower))),
                // That watcher is closed.
                Some(None) => {}
                None => return pending().await,
            }
        }
    }
}

async fn next(mut follower: StatusFollower) -> Option<StatusFollower> {
    follower.changed().await.map(|_| follower)
}
