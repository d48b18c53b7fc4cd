//! A watch in a task of its own.

use std::ops::Deref;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::error::WatchError;
use super::watcher::EngineWatcher;
use crate::engine::EngineClient;
use crate::settings::Settings;

/// A handle to a watcher whose watch runs in a task, until the handle is closed or dropped. Derefs to the
/// [`EngineWatcher`].
pub struct WatchHandle<C: EngineClient> {
    watcher: Arc<EngineWatcher<C>>,
    task: Option<AbortOnDropHandle<Result<(), WatchError>>>,
}

/// Watches an engine in a task, with default settings. Must be called within a tokio runtime.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), whalewatcher_core::WatchError> {
/// # let client = whalewatcher_core::scripted::Engine::new();
/// let watcher = whalewatcher_core::watch(client);
/// watcher.ready().await?;
/// for container in watcher.portfolio().containers() {
///     println!("{container}");
/// }
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn watch<C: EngineClient>(client: C) -> WatchHandle<C> {
    watch_with(client, Settings::default())
}

/// Watches an engine in a task, with these settings. Must be called within a tokio runtime.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub fn watch_with<C: EngineClient>(client: C, settings: Settings) -> WatchHandle<C> {
    let watcher = Arc::new(EngineWatcher::with_settings(client, settings));
    // The status contains why it ends.
    let task = tokio::spawn(watcher.watch(CancellationToken::new()));
    WatchHandle { watcher, task: Some(AbortOnDropHandle::new(task)) }
}

impl<C: EngineClient> WatchHandle<C> {
    /// Returns the watcher, for sharing. It is closed with this handle.
    #[must_use]
    pub fn watcher(&self) -> &Arc<EngineWatcher<C>> {
        &self.watcher
    }

    /// Closes the watcher and waits for its task to end.
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
