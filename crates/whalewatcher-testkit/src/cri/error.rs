//! What can go wrong when a test drives the runtime.

use std::io;

use crate::containerd;

/// Why the runtime was not started, or did not carry out a call of the test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no sandbox and no container of this ID.
    #[error("no such sandbox or container: {0}")]
    NotFound(String),
    /// It is a container, not a sandbox.
    #[error("{0} is no sandbox")]
    NoSandbox(String),
    /// There is a sandbox or a container of this ID already.
    #[error("{0} already exists")]
    AlreadyExists(String),
    /// The sandbox is not ready.
    #[error("sandbox {0} is not ready")]
    NotReady(String),
    /// It was started before; containers of a CRI runtime start once.
    #[error("{0} was started before")]
    Started(String),
    /// Its start or its end is not under way.
    #[error("nothing is under way with {0}")]
    NothingUnderWay(String),
    /// Its start or its end is under way.
    #[error("something is under way with {0} already")]
    UnderWay(String),
    /// It does not run.
    #[error("{0} is not running")]
    NotRunning(String),
    /// What containerd says, whose containers and tasks these are.
    #[error("containerd has objections")]
    Containerd(#[from] containerd::Error),
    /// The server must be started from within a tokio runtime with I/O and time enabled.
    #[error("there is no tokio runtime to serve on")]
    NoRuntime,
    /// The runtime cannot listen at its endpoint.
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
    pub(super) fn listen((endpoint, source): (String, io::Error)) -> Self {
        Self::Listen { endpoint, source }
    }
}
