//! Why a watch ends.

use std::sync::Arc;

use crate::model::EngineError;

/// Why a watch does not go on, or why there is none.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// Nobody has watched yet: [`EngineWatcher::watch`] was not called.
    #[error("this watcher is not being watched: call `watch` before")]
    NotWatched,
    /// Another watch of this watcher runs.
    #[error("this watcher is being watched already")]
    AlreadyWatching,
    /// The watcher was closed.
    #[error("this watcher was closed")]
    Closed,
    /// The watch was cancelled or dropped, or the runtime that ran it has ended.
    #[error("the watch was cancelled")]
    Cancelled,
    /// The engine could not be reached as often in a row as the back-off allows.
    #[error("gave up: {error}")]
    GaveUp {
        /// Why not, the last time.
        error: Arc<EngineError>,
    },
    /// The engine client's hook before watching failed.
    #[error("not watching: {error}")]
    Refused {
        /// What the hook returned.
        error: Arc<EngineError>,
    },
    /// The engine client, or what the application gave it, such as a hook, panicked.
    #[error("{error}")]
    Panicked {
        /// The panic's message.
        error: Arc<EngineError>,
    },
}
