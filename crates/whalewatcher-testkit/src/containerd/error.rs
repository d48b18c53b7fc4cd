//! What can go wrong when a test drives the engine.

use std::io;

/// Why the engine was not started, or did not carry out a call of the test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no container of this key.
    #[error("no such container: {0}")]
    NoSuchContainer(String),
    /// There is a container of this key already.
    #[error("container {0} already exists")]
    AlreadyExists(String),
    /// The container has no task.
    #[error("container {0} has no task")]
    NoTask(String),
    /// The container has a task already.
    #[error("container {0} has a task already")]
    HasTask(String),
    /// The task of the container was not started, or has ended.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The task of the container is alive.
    #[error("container {0} is alive")]
    Alive(String),
    /// The container is paused.
    #[error("container {0} is paused")]
    Paused(String),
    /// The container is not paused.
    #[error("container {0} is not paused")]
    NotPaused(String),
    /// There are containers in the namespace.
    #[error("namespace {0} is not empty")]
    NotEmpty(String),
    /// The server must be started from within a tokio runtime with I/O and time enabled.
    #[error("there is no tokio runtime to serve on")]
    NoRuntime,
    /// The engine cannot listen at its endpoint.
    #[error("cannot listen at {endpoint}")]
    Listen {
        /// Where it tried to.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Of where it tried to listen, and what the system said.
    pub(crate) fn listen((endpoint, source): (String, io::Error)) -> Self {
        Self::Listen { endpoint, source }
    }
}
