//! A watcher keeps one engine's portfolio in sync.

use std::fmt;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::error::WatchError;
use super::guard::Turn;
use super::shared::Shared;
use super::status::{Phase, Status};
use super::status_follower::StatusFollower;
use super::subscription::Subscription;
use crate::engine::EngineClient;
use crate::model::EngineIdentity;
use crate::portfolio::Portfolio;
use crate::settings::Settings;

/// Keeps one engine's portfolio in sync; the part that is the same for every kind of engine, for holding
/// watchers of several kinds as `Box<dyn Watcher>`. [`EngineWatcher`] is the one implementation, and says more of
/// each method.
pub trait Watcher: Send + Sync + 'static {
    /// Returns the newest picture, from memory.
    fn portfolio(&self) -> Portfolio;

    /// The picture, and all that happens from exactly there on.
    fn subscribe(&self) -> (Portfolio, Subscription);

    /// Waits until the portfolio is as the engine says, and returns the status then.
    ///
    /// # Errors
    ///
    /// When that will not come: nobody watches, or the watch has ended.
    fn ready(&self) -> BoxFuture<'_, Result<Status, WatchError>>;

    /// Watches until the token is cancelled, the watcher closed, or the future dropped. The watch begins with the call.
    ///
    /// # Errors
    ///
    /// If it is being watched already or was closed, when it gives up, and when code of the application panics.
    fn watch(&self, token: CancellationToken) -> BoxFuture<'static, Result<(), WatchError>>;

    /// Returns the status.
    fn status(&self) -> Status;

    /// Returns the status, with a way to await its changes.
    fn follow_status(&self) -> StatusFollower;

    /// The engine's type, such as `docker.com`.
    fn engine_type(&self) -> &str;

    /// Where the engine is reached, such as `unix:///run/docker.sock`.
    fn endpoint(&self) -> &str;

    /// The engine's identity; `None` before the first connection.
    fn identity(&self) -> Option<Arc<EngineIdentity>>;

    /// Ends the watch and all subscriptions, for good.
    fn close(&self);
}

/// Keeps the portfolio of the engine in sync that an [`EngineClient`] talks to.
///
/// Nothing happens until somebody runs [`watch`](Self::watch); [`watch()`](crate::watch()) does so in a task. It is
/// meant to be shared, as `Arc`: all methods take `&self`.
///
/// What it holds is a cache, kept true by the engine's events: the engine is a tiny moment ahead, and while it cannot
/// be reached the picture stays as last known. [`status`](Self::status) tells which.
pub struct EngineWatcher<C> {
    shared: Arc<Shared<C>>,
}

impl<C: EngineClient> EngineWatcher<C> {
    /// A watcher with default settings.
    pub fn new(client: C) -> Self {
        Self::with_settings(client, Settings::default())
    }

    /// A watcher with these settings.
    pub fn with_settings(client: C, settings: Settings) -> Self {
        Self { shared: Arc::new(Shared::new(client, settings)) }
    }

    /// The client it talks to the engine with.
    pub fn client(&self) -> &C {
        &self.shared.client
    }

    /// Returns the newest picture, from memory; takes no lock that anybody holds while writing.
    pub fn portfolio(&self) -> Portfolio {
        self.shared.publication.portfolio()
    }

    /// The picture, and all that happens from exactly there on: no change is missed or announced twice.
    ///
    /// A subscriber that joins before the watch is live sees what is found alive as [`Started`], then [`Synced`].
    /// After [`close`](Self::close) the stream ends.
    ///
    /// [`Started`]: crate::EventKind::Started
    /// [`Synced`]: crate::EventKind::Synced
    pub fn subscribe(&self) -> (Portfolio, Subscription) {
        Subscription::new(&self.shared.publication)
    }

    /// Waits until the portfolio is as the engine says: at once if it is already, else until the engine is reached
    /// and each container that it lists was inspected once. Waits for as long as the watch goes on trying.
    ///
    /// Returns the status at that moment. Its [`unresolved`](Status::unresolved) names the containers whose inspection
    /// failed: where that is not empty, the portfolio may lack some that are alive.
    ///
    /// # Errors
    ///
    /// When that will not come: [`watch`](Self::watch) was not called, or the watch has ended, for whatever reason.
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

    /// Watches until the token is cancelled or the watcher closed, which is `Ok`. Dropping the future at any point
    /// ends it as well, with all that belongs to it.
    ///
    /// The watch begins with the call, not when the future is first polled: from then on [`ready`](Self::ready) waits. The
    /// future borrows nothing, so it can be spawned:
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
    /// However it ends, subscribers receive [`EventKind::Disconnected`] if they had not before, and the status says why.
    /// It can be run again later: the portfolio stays as last known and is then brought up to date.
    ///
    /// # Errors
    ///
    /// [`WatchError::AlreadyWatching`] while another watch of this watcher runs, [`WatchError::Closed`] after it was
    /// closed, [`WatchError::GaveUp`] when the back-off is exhausted, [`WatchError::Refused`] if the engine client's
    /// hook before watching failed, [`WatchError::Panicked`] if the client or a hook panicked.
    ///
    /// [`EventKind::Disconnected`]: crate::EventKind::Disconnected
    pub fn watch(
        &self,
        token: CancellationToken,
    ) -> impl Future<Output = Result<(), WatchError>> + Send + use<C> {
        let turn = Turn::begin(&self.shared);
        async move { turn?.run(token).await }
    }

    /// Returns the status.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Returns the status, with a way to await its changes.
    pub fn follow_status(&self) -> StatusFollower {
        self.shared.follow_status()
    }

    /// The engine's type, such as `docker.com`.
    pub fn engine_type(&self) -> &str {
        self.shared.client.engine_type()
    }

    /// Where the engine is reached, such as `unix:///run/docker.sock`.
    pub fn endpoint(&self) -> &str {
        self.shared.client.endpoint()
    }

    /// The engine's identity, as of the newest connection; `None` before the first.
    pub fn identity(&self) -> Option<Arc<EngineIdentity>> {
        self.shared.identity()
    }

    /// Ends the watch and all subscriptions, for good. The portfolio stays readable as last known.
    pub fn close(&self) {
        self.shared.closed.cancel();
        self.shared.rest(Phase::Closed);
        self.shared.publication.end();
    }
}

impl<C: EngineClient> Watcher for EngineWatcher<C> {
    fn portfolio(&self) -> Portfolio {
        self.portfolio()
    }

    fn subscribe(&self) -> (Portfolio, Subscription) {
        self.subscribe()
    }

    fn ready(&self) -> BoxFuture<'_, Result<Status, WatchError>> {
        Box::pin(self.ready())
    }

    fn watch(&self, token: CancellationToken) -> BoxFuture<'static, Result<(), WatchError>> {
        Box::pin(self.watch(token))
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

    fn identity(&self) -> Option<Arc<EngineIdentity>> {
        self.identity()
    }

    fn close(&self) {
        self.close();
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
