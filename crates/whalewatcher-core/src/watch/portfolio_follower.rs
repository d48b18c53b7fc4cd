//! Follows the portfolio of a watcher.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use tokio::task::coop::consume_budget;

use super::watched::Watched;
use crate::portfolio::Portfolio;
use crate::publication::{Publication, Waiter};

/// Follows the portfolio of a watcher, for programs that show it as a whole: each call returns the newest
/// snapshot, however many changes led to it. What happened in between is in no snapshot; a
/// [`Subscription`](crate::Subscription) returns each change.
///
/// It delays nothing and holds one snapshot and no events, so it may wait for as long as it likes between two calls:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), whalewatcher_core::WatchError> {
/// # use whalewatcher_core::{Container, Portfolio, scripted::Engine, watch};
/// # fn draw(portfolio: &Portfolio) { assert!(portfolio.total() <= 2) }
/// # let engine = Engine::new();
/// # let watcher = watch(engine.clone());
/// # watcher.ready().await?;
/// use std::time::Duration;
///
/// let mut follower = watcher.follow_portfolio();
/// draw(follower.portfolio());
/// # engine.start(Container::new("c0ffee", "web", 4711));
/// # engine.start(Container::new("cafe", "db", 4712));
/// # let handle = watcher.watcher().clone();
/// # tokio::spawn(async move { tokio::time::sleep(Duration::from_millis(300)).await; handle.close() });
/// while let Some(portfolio) = follower.changed().await {
///     draw(&portfolio);
///     // At most ten times a second. The next call returns what changed meanwhile.
///     tokio::time::sleep(Duration::from_millis(100)).await;
/// }
/// # Ok(()) }
/// ```
pub struct PortfolioFollower {
    waiter: Waiter<Watched>,
    seen: Portfolio,
}

impl PortfolioFollower {
    pub(crate) fn new(publication: &Arc<Publication<Watched>>) -> Self {
        Self { waiter: publication.waiter(), seen: publication.portfolio() }
    }

    /// Returns the snapshot that the last call of [`changed`](Self::changed) returned; before the first, that
    /// of the time when the follower was created.
    #[must_use]
    pub fn portfolio(&self) -> &Portfolio {
        &self.seen
    }

    /// Waits until the portfolio differs from [`the last one`](Self::portfolio), and returns the newest; at
    /// once if it already does. `None` after the watcher was closed and its last portfolio returned.
    ///
    /// Cancel safe: dropping the future loses no change.
    pub async fn changed(&mut self) -> Option<Portfolio> {
        // A task that follows continuously lets others run, too.
        consume_budget().await;
        let Self { waiter, seen } = self;
        let newer = |newest: &Watched| {
            (newest.portfolio.revision() != seen.revision()).then(|| newest.portfolio.clone())
        };
        *seen = poll_fn(|context| waiter.poll_newest(context, newer)).await?;
        Some(seen.clone())
    }
}

impl fmt::Debug for PortfolioFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortfolioFollower").field("revision", &self.seen.revision()).finish_non_exhaustive()
    }
}
