//! The watcher of one engine.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::error::WatchError;
use super::guard::WatchGuard;
use super::portfolio_follower::PortfolioFollower;
use super::shared::Shared;
use super::status::{Phase, Status};
use super::status_follower::StatusFollower;
use super::subscription::Subscription;
use crate::engine::EngineClient;
use crate::model::{ContainerId, EngineIdentity, EngineKey, Layer};
use crate::portfolio::Portfolio;
use crate::settings::Settings;

/// The watcher of an engine of any type: an object-safe trait, for holding watchers of several engine types as
/// `Arc<dyn Watcher>`. [`EngineWatcher`] implements it and documents each method.
///
/// A shared watcher, `Arc<W>`, is a watcher too. [`downcast_ref`](#method.downcast_ref) returns the type
/// behind a `dyn Watcher`, and with it the client.
pub trait Watcher: Any + Send + Sync {
    /// Returns the newest snapshot of the portfolio, from memory.
    fn portfolio(&self) -> Portfolio;

    /// Returns a snapshot of the portfolio, and a subscription to all changes after it.
    fn subscribe(&self) -> (Portfolio, Subscription);

    /// Returns a follower of the portfolio, which waits for newer snapshots.
    fn follow_portfolio(&self) -> PortfolioFollower;

    /// Waits until the portfolio is in sync with the engine, and returns the status then.
    ///
    /// # Errors
    ///
    /// If there is no watch, or the watch has ended.
    fn ready(&self) -> BoxFuture<'_, Result<Status, WatchError>>;

    /// Watches until the token is cancelled, the watcher closed, or the future dropped. The watch begins with the call.
    ///
    /// # Errors
    ///
    /// If there is a watch already, if the watcher was closed, if the watch gives up, or if code of the
    /// application panics.
    fn watch(&self, token: CancellationToken) -> BoxFuture<'static, Result<(), WatchError>>;

    /// Asks for an inspection of a container now.
    fn refresh(&self, id: &ContainerId) -> bool;

    /// Returns the status.
    fn status(&self) -> Status;

    /// Returns a follower of the status, which waits for changes.
    fn follow_status(&self) -> StatusFollower;

    /// Returns the engine's type, such as `docker.com`.
    fn engine_type(&self) -> &str;

    /// Returns the endpoint, such as `unix:///run/docker.sock`.
    fn endpoint(&self) -> &str;

    /// Returns endpoint and type, which never change.
    fn key(&self) -> EngineKey {
        EngineKey::new(self.engine_type(), self.endpoint())
    }

    /// Returns the layer of the engine.
    fn layer(&self) -> Layer {
        Layer::default()
    }

    /// Returns the scope in which this engine runs its containers in an engine below, as far as it is known.
    fn scope_below(&self) -> Option<&str> {
        None
    }

    /// Returns the engine's identity; `None` before the first connection.
    fn identity(&self) -> Option<Arc<EngineIdentity>>;

    /// Ends the watch and all subscriptions permanently.
    fn close(&self);
}

impl dyn Watcher {
    /// Returns the watcher as this type, if it is one, also where it is shared: an `Arc<W>` that joined a
    /// fleet is a `W`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use whalewatcher_core::scripted::Engine;
    /// use whalewatcher_core::{EngineWatcher, Fleet};
    ///
    /// let fleet = Fleet::new();
    /// fleet.add(EngineWatcher::new(Engine::new()))?;
    /// for watcher in fleet.watchers() {
    ///     if let Some(scripted) = watcher.downcast_ref::<EngineWatcher<Engine>>() {
    ///         println!("{} containers are alive", scripted.client().truth().total());
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn downcast_ref<W: Watcher>(&self) -> Option<&W> {
        let any: &dyn Any = self;
        if let Some(shared) = any.downcast_ref::<Arc<dyn Watcher>>() {
            return shared.downcast_ref();
        }
        any.downcast_ref().or_else(|| any.downcast_ref().map(|shared: &Arc<W>| &**shared))
    }
}

/// The watcher of the engine that an [`EngineClient`] connects to. It keeps the portfolio in sync.
///
/// It does nothing until [`watch`](Self::watch) runs; [`watch()`](crate::watch()) runs it in a task. All methods take
/// `&self`, so a watcher can be shared as `Arc`.
///
/// The portfolio is a cache that follows the engine's events: it is a moment behind the engine, and while the
/// engine cannot be reached, it stays as last known. [`status`](Self::status) returns whether it is up to
/// date.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), whalewatcher_core::WatchError> {
/// # use whalewatcher_core::scripted::Engine;
/// use whalewatcher_core::{Container, watch};
///
/// # let client = Engine::new();
/// # client.start(Container::new("c0ffee", "web", 4711));
/// let watcher = watch(client);
/// watcher.ready().await?;
/// assert_eq!(watcher.portfolio().by_name("web").map(|web| web.pid()), Some(4711));
/// # Ok(()) }
/// ```
pub struct EngineWatcher<C> {
    client: Arc<C>,
    shared: Arc<Shared>,
}

impl<C: EngineClient> EngineWatcher<C> {
    /// Creates a watcher with default settings.
    pub fn new(client: C) -> Self {
        Self::with_settings(client, Settings::default())
    }

    /// Creates a watcher with these settings.
    pub fn with_settings(client: C, settings: Settings) -> Self {
        let client = Arc::new(client);
        Self { shared: Arc::new(Shared::new(client.clone(), settings)), client }
    }

    /// Returns the client that connects to the engine.
    pub fn client(&self) -> &C {
        &self.client
    }

    /// Returns the newest snapshot of the portfolio, from memory. Takes no lock that a writer holds.
    pub fn portfolio(&self) -> Portfolio {
        self.shared.publication.portfolio()
    }

    /// Returns a snapshot of the portfolio, and a subscription to all changes after it: no change is missed
    /// or repeated.
    ///
    /// A subscriber that subscribes before the watch is live receives what is found alive as [`Started`],
    /// then [`Synced`]. After [`close`](Self::close) the subscription ends.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), whalewatcher_core::WatchError> {
    /// # use whalewatcher_core::scripted::Engine;
    /// # use whalewatcher_core::{Container, watch};
    /// # let engine = Engine::new();
    /// # let watcher = watch(engine.clone());
    /// # watcher.ready().await?;
    /// let (mut portfolio, mut changes) = watcher.subscribe();
    /// # engine.start(Container::new("c0ffee", "web", 4711));
    /// let event = changes.next().await.expect("the watcher is not closed");
    /// portfolio.apply(&event.kind);
    /// assert_eq!(portfolio, watcher.portfolio());
    /// # Ok(()) }
    /// ```
    ///
    /// [`Started`]: crate::EventKind::Started
    /// [`Synced`]: crate::EventKind::Synced
    pub fn subscribe(&self) -> (Portfolio, Subscription) {
        Subscription::new(&self.shared.publication)
    }

    /// Returns a follower of the portfolio, which waits for newer snapshots and skips those in between.
    pub fn follow_portfolio(&self) -> PortfolioFollower {
        PortfolioFollower::new(&self.shared.publication)
    }

    /// Waits until the portfolio is in sync: until the engine is connected and each container that it lists
    /// was inspected once. Returns at once if it is already, and waits for as long as the watch keeps trying.
    ///
    /// Returns the status at that time. Its [`unresolved`](Status::unresolved) lists the containers whose inspection
    /// failed: if there are any, the portfolio may lack containers that are alive.
    ///
    /// # Errors
    ///
    /// If [`watch`](Self::watch) was not called, or the watch has ended for any reason.
    pub async fn ready(&self) -> Result<Status, WatchError> {
        let decided = |status: &Status| {
            !matches!(status.phase, Phase::Connecting | Phase::Synchronizing | Phase::Disconnected { .. })
        };
        let Some(status) = self.shared.wait_for(decided).await else { return Err(WatchError::Closed) };
        match status.phase {
            Phase::Failed { error } => Err(WatchError::GaveUp { error }),
            Phase::Refused { error } => Err(WatchError::Refused { error }),
            Phase::Panicked { error } => Err(WatchError::Panicked { error }),
            Phase::Idle => Err(WatchError::NotWatched),
            Phase::Cancelled => Err(WatchError::Cancelled),
            Phase::Closed => Err(WatchError::Closed),
            _ => Ok(status),
        }
    }

    /// Watches until the token is cancelled or the watcher closed, and then returns `Ok`. Dropping the future
    /// at any await point also ends the watch and releases all its resources.
    ///
    /// The watch begins with the call, not with the first poll of the future: from then on
    /// [`ready`](Self::ready) waits. The future borrows nothing, so it can be spawned:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// # use whalewatcher_core::{EngineWatcher, scripted::Engine};
    /// use tokio_util::sync::CancellationToken;
    ///
    /// let watcher = EngineWatcher::new(Engine::new());
    /// let token = CancellationToken::new();
    /// tokio::spawn(watcher.watch(token.clone()));
    /// assert!(watcher.ready().await.unwrap().is_live());
    /// token.cancel();
    /// # }
    /// ```
    ///
    /// When the watch ends for any reason, subscribers receive [`EventKind::Disconnected`] unless they did
    /// before, and the status contains the reason. The watcher can be watched again later: the portfolio
    /// stays as last known until then.
    ///
    /// # Errors
    ///
    /// - [`WatchError::AlreadyWatching`] while another watch of this watcher runs.
    /// - [`WatchError::Closed`] after the watcher was closed.
    /// - [`WatchError::GaveUp`] when the attempts of the back-off are exhausted.
    /// - [`WatchError::Refused`] if the engine client's hook before watching failed.
    /// - [`WatchError::Panicked`] if the client or a hook panicked.
    ///
    /// [`EventKind::Disconnected`]: crate::EventKind::Disconnected
    pub fn watch(
        &self,
        token: CancellationToken,
    ) -> impl Future<Output = Result<(), WatchError>> + Send + use<C> {
        let guard = WatchGuard::begin(&self.shared);
        async move { guard?.run(token).await }
    }

    /// Asks for one inspection of a container from now on, which updates the portfolio and packs the rucksack
    /// again. Changes are published as usual. Returns at once; `false` if no container with this ID is known
    /// to be alive, and then nothing happens. While the engine cannot be reached, nothing is inspected: the
    /// next connection inspects each container anyway.
    pub fn refresh(&self, id: &ContainerId) -> bool {
        let known = self.portfolio().by_id(id).map(|known| known.id().clone());
        known.map(|id| self.shared.refreshes.add(id)).is_some()
    }

    /// Returns the status.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Returns a follower of the status, which waits for changes.
    pub fn follow_status(&self) -> StatusFollower {
        self.shared.follow_status()
    }

    /// Returns the engine's type, such as `docker.com`.
    pub fn engine_type(&self) -> &str {
        self.client.engine_type()
    }

    /// Returns the endpoint, such as `unix:///run/docker.sock`.
    pub fn endpoint(&self) -> &str {
        self.client.endpoint()
    }

    /// Returns endpoint and type, which never change: what distinguishes the engines of a [`Fleet`](crate::Fleet).
    pub fn key(&self) -> EngineKey {
        Watcher::key(self)
    }

    /// Returns the engine's identity, as of the newest connection; `None` before the first.
    pub fn identity(&self) -> Option<Arc<EngineIdentity>> {
        self.shared.identity()
    }

    /// Ends the watch and all subscriptions permanently. The portfolio stays readable as last known.
    pub fn close(&self) {
        self.shared.closed.cancel();
        self.shared.rest(Phase::Closed);
        self.shared.publication.end().wake();
    }
}

impl<C: EngineClient> Watcher for EngineWatcher<C> {
    fn portfolio(&self) -> Portfolio {
        self.portfolio()
    }

    fn subscribe(&self) -> (Portfolio, Subscription) {
        self.subscribe()
    }

    fn follow_portfolio(&self) -> PortfolioFollower {
        self.follow_portfolio()
    }

    fn ready(&self) -> BoxFuture<'_, Result<Status, WatchError>> {
        Box::pin(self.ready())
    }

    fn watch(&self, token: CancellationToken) -> BoxFuture<'static, Result<(), WatchError>> {
        Box::pin(self.watch(token))
    }

    fn refresh(&self, id: &ContainerId) -> bool {
        self.refresh(id)
    }

    fn status(&self) -> Status {
        self.status()
    }

    fn follow_status(&self) -> StatusFollower {
        self.follow_status()
    }

    fn engine_type(&self) -> &str {
        self.engine_type()
    }

    fn endpoint(&self) -> &str {
        self.endpoint()
    }

    fn layer(&self) -> Layer {
        self.client.layer()
    }

    fn scope_below(&self) -> Option<&str> {
        self.client.scope_below()
    }

    fn identity(&self) -> Option<Arc<EngineIdentity>> {
        self.identity()
    }

    fn close(&self) {
        self.close();
    }
}

/// A watcher that is shared, so that an application keeps one that joins a [`Fleet`](crate::Fleet).
impl<W: Watcher + ?Sized> Watcher for Arc<W> {
    fn portfolio(&self) -> Portfolio {
        (**self).portfolio()
    }

    fn subscribe(&self) -> (Portfolio, Subscription) {
        (**self).subscribe()
    }

    fn follow_portfolio(&self) -> PortfolioFollower {
        (**self).follow_portfolio()
    }

    fn ready(&self) -> BoxFuture<'_, Result<Status, WatchError>> {
        (**self).ready()
    }

    fn watch(&self, token: CancellationToken) -> BoxFuture<'static, Result<(), WatchError>> {
        (**self).watch(token)
    }

    fn refresh(&self, id: &ContainerId) -> bool {
        (**self).refresh(id)
    }

    fn status(&self) -> Status {
        (**self).status()
    }

    fn follow_status(&self) -> StatusFollower {
        (**self).follow_status()
    }

    fn engine_type(&self) -> &str {
        (**self).engine_type()
    }

    fn endpoint(&self) -> &str {
        (**self).endpoint()
    }

    fn key(&self) -> EngineKey {
        (**self).key()
    }

    fn layer(&self) -> Layer {
        (**self).layer()
    }

    fn scope_below(&self) -> Option<&str> {
        (**self).scope_below()
    }

    fn identity(&self) -> Option<Arc<EngineIdentity>> {
        (**self).identity()
    }

    fn close(&self) {
        (**self).close();
    }
}

impl<C: EngineClient> fmt::Debug for EngineWatcher<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineWatcher")
            .field("engine_type", &self.engine_type())
            .field("endpoint", &self.endpoint())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for dyn Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("engine_type", &self.engine_type())
            .field("endpoint", &self.endpoint())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
