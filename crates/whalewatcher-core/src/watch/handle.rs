//! WatchHandle in a task of its own.

use std::ops::Deref;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::error::WatchError;
use super::watcher::EngineWatcher;
use crate::engine::EngineClient;
use crate::settings::Settings;

/// A watcher whose watch runs in a task of its own, until this is closed or dropped.
pub struct WatchHandle<C: EngineClient> {
    watcher: Arc<EngineWatcher<C>>,
    task: Option<AbortOnDropHandle<Result<(), WatchError>>>,
}

/// Watches, with default settings, in a task of its own. To be called within a tokio runtime.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn watch<C: EngineClient>(client: C) -> WatchHandle<C> {
    watch_with(client, Settings::default())
}

/// Watches, with these settings, in a task of its own. To be called within a tokio runtime.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn watch_with<C: EngineClient>(client: C, settings: Settings) -> WatchHandle<C> {
    let watcher = Arc::new(EngineWatcher::with_settings(client, settings));
    // Why it ends is in the status.
    let task = tokio::spawn(watcher.watch(CancellationToken::new()));
    WatchHandle { watcher, task: Some(AbortOnDropHandle::new(task)) }
}

impl<C: EngineClient> WatchHandle<C> {
    /// The watcher, to be shared; it is closed when this is.
    #[must_use]
    pub fn watcher(&self) -> &Arc<EngineWatcher<C>> {
        &self.watcher
    }

    /// Closes the watcher and waits until its task has ended.
    pub async fn close(mut self) {
        self.watcher.close();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl<C: EngineClient> Deref for WatchHandle<C> {
    type Target = EngineWatcher<C>;

    fn deref(&self) -> &EngineWatcher<C> {
        &self.watcher
    }
}

impl<C: EngineClient> Drop for WatchHandle<C> {
    fn drop(&mut self) {
        self.watcher.close();
    }
}
