//! Why a watch ends.

use std::sync::Arc;

use crate::model::EngineError;

/// Why a watch ended, or why there is none.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// There is no watch yet: [`EngineWatcher::watch`](crate::EngineWatcher::watch) was not called.
    #[error("this watcher is not being watched: call `watch` before")]
    NotWatched,
    /// Another watch of this watcher is running.
    #[error("this watcher is being watched already")]
    AlreadyWatching,
    /// The watcher was closed.
    #[error("this watcher was closed")]
    Closed,
    /// The watch was cancelled or dropped, or the runtime that ran it has ended.
    #[error("the watch was cancelled")]
    Cancelled,
    /// As many attempts in a row failed as the back-off allows.
    #[error("gave up: {error}")]
    GaveUp {
        /// Why the last attempt failed.
        error: Arc<EngineError>,
    },
    /// The engine client's hook before watching failed.
    #[error("not watching: {error}")]
    Refused {
        /// The error that the hook returned.
        error: Arc<EngineError>,
    },
    /// The engine client panicked, or code of the application that it calls, such as a hook.
    #[error("{error}")]
    Panicked {
        /// The message of the panic.
        error: Arc<EngineError>,
    },
}
