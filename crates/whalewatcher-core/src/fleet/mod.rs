//! A fleet: the watchers of several engines, with one portfolio and one subscription.

use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::future;
use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::model::EngineKey;
use crate::settings::Settings;
use crate::watch::{Phase, Status, WatchError, Watcher};

mod difference;
mod event;
mod member;
mod members;
mod merge;
mod portfolio;
mod readiness;
mod shared;
mod sharing;
mod source;
mod subscription;

pub use difference::difference;
pub use event::FleetEvent;
pub use member::FleetMember;
pub use members::Members;
pub use portfolio::FleetPortfolio;
pub use readiness::{JoinError, NotReady, Readiness};
use shared::Shared;
pub use subscription::{FleetFollower, FleetSubscription};

/// Watches several engines, each in its own task, until it is closed or dropped.
///
/// Members are distinguished by their [`EngineKey`]. Engines can join and leave at any time. One that cannot
/// be reached delays no other, and its containers stay as last known.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use whalewatcher_core::scripted::Engine;
/// use std::time::Duration;
/// use whalewatcher_core::{EngineWatcher, Fleet};
///
/// # let (docker, containerd) = (Engine::at("one"), Engine::at("other"));
/// let fleet = Fleet::new();
/// fleet.add(EngineWatcher::new(docker))?;
/// fleet.add(EngineWatcher::new(containerd))?;
/// let readiness = fleet.ready(Duration::from_secs(10)).await;
/// assert!(readiness.is_complete());
/// for (engine, container) in fleet.portfolio().containers() {
///     println!("{}: {container}", engine.key());
/// }
/// # Ok(()) }
/// ```
pub struct Fleet {
    shared: Arc<Shared>,
}

impl Fleet {
    /// Creates a fleet without members.
    #[must_use]
    pub fn new() -> Self {
        Self::with_subscriber_queue(Settings::default().subscriber_queue())
    }

    /// Creates a fleet whose subscribers may lag behind by this many events, or by as many as containers are alive.
    #[must_use]
    pub fn with_subscriber_queue(events: usize) -> Self {
        Self { shared: Arc::new(Shared::new(events)) }
    }

    /// Adds a watcher and watches it; if it is being watched already, once that watch has ended. Must be
    /// called within a tokio runtime.
    ///
    /// Subscribers receive [`Joined`](crate::EventKind::Joined), and its containers as started.
    ///
    /// # Errors
    ///
    /// If the fleet watches an engine of that type at that endpoint already.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn add<W: Watcher>(&self, watcher: W) -> Result<Arc<W>, JoinError> {
        let (runtime, watcher) = (Handle::current(), Arc::new(watcher));
        let (key, number) = self.shared.join(watcher.clone())?;
        // The watch begins with this call. The status contains why it ends.
        let watch = watcher.watch(CancellationToken::new());
        let follow = self.shared.clone().follow(key.clone(), number);
        let tasks = [
            AbortOnDropHandle::new(runtime.spawn(keep_watching(watcher.clone(), watch))),
            AbortOnDropHandle::new(runtime.spawn(follow)),
        ];
        self.shared.set_tasks(&key, number, tasks);
        Ok(watcher)
    }

    /// Removes a watcher and ends its watch, if the fleet began it. Returns whether there was one.
    ///
    /// Subscribers receive the events of the watcher so far, then an exit of each of its containers, because
    /// they are no longer part of the fleet, and then [`Left`](crate::EventKind::Left). The watcher is not
    /// closed: if the application keeps it, it can be watched again, and join again.
    pub fn remove(&self, key: &EngineKey) -> bool {
        self.shared.leave(key)
    }

    /// Returns the watcher with this key.
    #[must_use]
    pub fn watcher(&self, key: &EngineKey) -> Option<Arc<dyn Watcher>> {
        self.portfolio().member(key).map(|member| member.watcher().clone())
    }

    /// Returns all watchers, sorted by endpoint and type.
    #[must_use]
    pub fn watchers(&self) -> Vec<Arc<dyn Watcher>> {
        self.portfolio().members().map(|member| member.watcher().clone()).collect()
    }

    /// Returns the newest snapshot of all engines' containers, from memory. Takes no lock that a writer holds.
    ///
    /// It follows the watchers: it is a moment behind the portfolio of each.
    #[must_use]
    pub fn portfolio(&self) -> FleetPortfolio {
        self.shared.publication().newest(FleetPortfolio::clone)
    }

    /// Returns a snapshot of all engines' containers, and a subscription to all changes after it: of
    /// containers, of the state of members ([`Synced`](crate::EventKind::Synced),
    /// [`Disconnected`](crate::EventKind::Disconnected)), and of the membership.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use whalewatcher_core::scripted::Engine;
    /// # use whalewatcher_core::{EngineWatcher, Fleet};
    /// let fleet = Fleet::new();
    /// let (mut now, mut changes) = fleet.subscribe();
    /// fleet.add(EngineWatcher::new(Engine::new()))?;
    /// for expected in ["joined", "synced"] {
    ///     let change = changes.next().await.expect("the fleet is not closed");
    ///     now.apply(&change);
    ///     assert_eq!(change.event.kind.name(), expected);
    /// }
    /// assert_eq!(now, fleet.portfolio());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> (FleetPortfolio, FleetSubscription) {
        FleetSubscription::new(&self.shared.publication())
    }

    /// Returns a follower of the portfolio, which waits for newer snapshots and skips those in between.
    #[must_use]
    pub fn follow_portfolio(&self) -> FleetFollower {
        FleetFollower::new(&self.shared.publication())
    }

    /// Waits, up to `limit`, until each current member is ready or its watch has ended. The containers of
    /// those that are ready are in the portfolio then.
    pub async fn ready(&self, limit: Duration) -> Readiness {
        let watchers = self.watchers();
        let outcomes = future::join_all(watchers.iter().map(|watcher| timeout(limit, watcher.ready()))).await;
        self.shared.advance();
        let mut readiness = Readiness::default();
        for (watcher, outcome) in watchers.into_iter().zip(outcomes) {
            match outcome {
                Ok(Ok(status)) => readiness.ready.push((watcher, status)),
                Ok(Err(error)) => readiness.not_ready.push((watcher, error.into())),
                Err(_) => {
                    let status = watcher.status();
                    readiness.not_ready.push((watcher, NotReady::Late(Box::new(status))));
                }
            }
        }
        readiness
    }

    /// Removes all watchers, ends their watches, and ends all subscriptions. The fleet can be used again afterwards.
    pub fn close(&self) {
        self.shared.close();
    }
}

/// Watches until the watch ends. A watch that runs already may be that of a fleet that the watcher has just left.
async fn keep_watching(watcher: Arc<dyn Watcher>, watch: BoxFuture<'static, Result<(), WatchError>>) {
    let (mut status, mut watch) = (watcher.follow_status(), watch);
    while let Err(WatchError::AlreadyWatching) = watch.await {
        let is_over = |status: &Status| {
            !matches!(
                status.phase,
                Phase::Connecting | Phase::Synchronizing | Phase::Live { .. } | Phase::Disconnected { .. }
            )
        };
        consume_budget().await;
        status.wait_for(is_over).await;
        watch = watcher.watch(CancellationToken::new());
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.close();
    }
}
