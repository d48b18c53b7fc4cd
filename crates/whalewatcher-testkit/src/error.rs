//! What goes wrong when a test starts or drives an engine.

use std::io;

/// The reason why an engine was not started, or did not carry out a call of the test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing of this ID, key or name.
    #[error("no such container: {0}")]
    NotFound(String),
    /// Several IDs begin with this text.
    #[error("more than one container's ID begins with {0}")]
    Ambiguous(String),
    /// It is in no state for that.
    #[error("{name} {state}")]
    Impossible {
        /// Its ID, key or name.
        name: String,
        /// Its state, such as `is paused`.
        state: &'static str,
    },
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

impl Error {
    pub(crate) fn impossible(name: impl Into<String>, state: &'static str) -> Self {
        Self::Impossible { name: name.into(), state }
    }

    /// Returns the error of where a server tried to listen.
    #[cfg(feature = "containerd")]
    pub(crate) fn listen((endpoint, source): (String, io::Error)) -> Self {
        Self::Listen { endpoint, source }
    }
}
