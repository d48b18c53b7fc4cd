//! What recognises engines of one kind.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use whalewatcher_core::{EngineError, EngineIdentity, Settings, Watcher};

use crate::socket::Socket;

/// Recognises engines of one kind, and makes watchers of them. Implement it for other engines than those of this crate.
pub trait Detector: Send + Sync + 'static {
    /// Returns the names of processes that are such engines, each of up to 15 bytes. Their sockets are probed.
    fn processes(&self) -> &[&str];

    /// Returns the paths where the sockets of such engines usually are. A name `*` means any, and `~` at the
    /// beginning the home folder of the user.
    fn sockets(&self) -> &[&str];

    /// Connects to a socket, and returns a watcher that is not watched yet if an engine of this kind answers.
    ///
    /// Anything may answer, or nothing: what is read must have a limit, and no credentials may be sent to a
    /// socket. The future is dropped after the time limit for connecting.
    ///
    /// # Errors
    ///
    /// [`NotThisEngine`](whalewatcher_core::ErrorKind::NotThisEngine) if something else answers; then other
    /// detectors are asked.
    fn detect<'a>(
        &'a self,
        socket: &'a Socket,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<Detected, EngineError>>;
}

/// An engine that answered, and its watcher.
#[derive(Clone, Debug)]
pub struct Detected {
    pub(crate) identity: EngineIdentity,
    pub(crate) watcher: Arc<dyn Watcher>,
}

impl Detected {
    /// Creates it from the engine's identity and a watcher that is not watched yet.
    pub fn new(identity: EngineIdentity, watcher: impl Watcher) -> Self {
        Self { identity, watcher: Arc::new(watcher) }
    }
}
