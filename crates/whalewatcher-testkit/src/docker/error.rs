//! Errors of calls that drive the engine.

use std::io;

/// The reason why the engine could not be started or did not execute a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is neither an ID, nor a name, nor the beginning of an ID.
    #[error("no such container: {0}")]
    NoSuchContainer(String),
    /// Several IDs begin with this text.
    #[error("more than one container's ID begins with {0}")]
    Ambiguous(String),
    /// The name belongs to another container.
    #[error("the name {name} is in use by container {id}")]
    NameInUse {
        /// The requested name.
        name: String,
        /// The ID of the container that has it.
        id: String,
    },
    /// The container has no process (it was never started, has exited, or waits for its restart).
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The container has been started already.
    #[error("container {0} is already running")]
    AlreadyRunning(String),
    /// The container is paused.
    #[error("container {0} is paused")]
    Paused(String),
    /// The container is not paused.
    #[error("container {0} is not paused")]
    NotPaused(String),
    /// The server must be started from within a tokio runtime with I/O and time enabled.
    #[error("there is no tokio runtime to serve on")]
    NoRuntime,
    /// The engine cannot listen at its endpoint.
    #[error("cannot listen at {endpoint}")]
    Listen {
        /// The endpoint.
        endpoint: String,
        /// The error of the operating system.
        source: io::Error,
    },
}
