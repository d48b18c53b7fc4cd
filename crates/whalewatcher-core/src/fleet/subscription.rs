//! The subscription to the events of a fleet, and its follower.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::task::coop::consume_budget;

use super::event::FleetEvent;
use super::portfolio::FleetPortfolio;
use crate::publication::{Publication, Reader, Waiter};

/// All changes of a fleet after a snapshot: a [`Stream`] of [`FleetEvent`]s that ends when the fleet is closed.
///
/// The snapshot that was returned with it, with each event [applied](FleetPortfolio::apply) in turn, equals
/// the fleet's portfolio. A subscriber that reads too slowly delays nothing and stays subscribed: it receives
/// [`EventKind::Lagged`](crate::EventKind::Lagged) for each engine of which it missed events, and the
/// difference between its last snapshot and now. An unread subscription holds its last snapshot and a bounded
/// number of events.
pub struct FleetSubscription(Reader<FleetPortfolio>);

impl FleetSubscription {
    pub(super) fn new(publication: &Arc<Publication<FleetPortfolio>>) -> (FleetPortfolio, Self) {
        let reader = Reader::new(publication);
        (reader.seen().clone(), Self(reader))
    }

    /// Returns the next event; `None` after the fleet was closed. Cancel safe: dropping the future loses no event.
    pub async fn next(&mut self) -> Option<FleetEvent> {
        poll_fn(|context| self.0.poll_next(context)).await
    }
}

impl Stream for FleetSubscription {
    type Item = FleetEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<FleetEvent>> {
        self.0.poll_next(context)
    }
}

impl fmt::Debug for FleetSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetSubscription").finish_non_exhaustive()
    }
}

/// Follows the portfolio of a fleet, for programs that show it as a whole: each call returns the newest
/// snapshot, however many changes led to it. It delays nothing and holds one snapshot and no events.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use whalewatcher_core::scripted::Engine;
/// use whalewatcher_core::{EngineWatcher, Fleet};
///
/// let fleet = Fleet::new();
/// let mut follower = fleet.follow_portfolio();
/// fleet.add(EngineWatcher::new(Engine::new()))?;
/// # let mut shown = 0;
/// while let Some(now) = follower.changed().await {
///     println!("{} engines, {} containers", now.members().count(), now.total());
///     # shown += 1;
///     # if shown == 2 { fleet.close() }
/// }
/// # Ok(()) }
/// ```
pub struct FleetFollower {
    waiter: Waiter<FleetPortfolio>,
    seen: FleetPortfolio,
}

impl FleetFollower {
    pub(super) fn new(publication: &Arc<Publication<FleetPortfolio>>) -> Self {
        Self { waiter: publication.waiter(), seen: publication.newest(FleetPortfolio::clone) }
    }

    /// Returns the snapshot that the last call of [`changed`](Self::changed) returned; before the first, that
    /// of the time when the follower was created.
    #[must_use]
    pub fn portfolio(&self) -> &FleetPortfolio {
        &self.seen
    }

    /// Waits until the portfolio or the state of a member differs from [the last one](Self::portfolio), and
    /// returns the newest; at once if it already does. `None` after the fleet was closed and its last
    /// portfolio returned.
    ///
    /// Cancel safe: dropping the future loses no change.
    pub async fn changed(&mut self) -> Option<FleetPortfolio> {
        // A task that follows continuously lets others run, too.
        consume_budget().await;
        let Self { waiter, seen } = self;
        let newer = |newest: &FleetPortfolio| (newest.revision() != seen.revision()).then(|| newest.clone());
        *seen = poll_fn(|context| waiter.poll_newest(context, newer)).await?;
        Some(seen.clone())
    }
}

impl fmt::Debug for FleetFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetFollower").field("revision", &self.seen.revision()).finish_non_exhaustive()
    }
}
