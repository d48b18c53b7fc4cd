//! Where the server listens, and the task that does: started, ended, and started again.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{error::Error, server::Shared, wire};

/// Owns the socket and the task behind it, and ends them when it is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    shared: Arc<Shared>,
    runtime: Handle,
    socket: PathBuf,
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// Removed with everything in it at the end.
    _folder: Option<TempDir>,
}

impl Listening {
    pub(super) fn new(
        shared: Arc<Shared>,
        runtime: Handle,
        socket: PathBuf,
        folder: Option<TempDir>,
    ) -> Result<Self, Error> {
        let listening = Self { shared, runtime, socket, accepting: Mutex::new(None), _folder: folder };
        listening.begin()?;
        Ok(listening)
    }

    fn accepting(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes the socket and takes connections from it. Nothing happens if it listens already.
    pub(super) fn begin(&self) -> Result<(), Error> {
        let mut accepting = self.accepting();
        if accepting.is_some() {
            return Ok(());
        }
        let _context = self.runtime.enter();
        let listener = UnixListener::bind(&self.socket)
            .map_err(|source| Error::Listen { endpoint: self.socket.display().to_string(), source })?;
        *accepting = Some(tokio::spawn(wire::accept(listener, Arc::clone(&self.shared))));
        Ok(())
    }

    /// Removes the socket file and takes no more connections. What it returns is to be awaited to be sure that the
    /// socket is closed.
    pub(super) fn end(&self) -> Option<JoinHandle<()>> {
        let accepting = self.accepting().take()?;
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, socket = %self.socket.display(), "the socket file was gone already");
        }
        accepting.abort();
        Some(accepting)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.end();
        self.shared.connections.close_all();
    }
}

/// Closes connections, all that there are at a time.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<CancellationToken>);

impl Connections {
    fn token(&self) -> MutexGuard<'_, CancellationToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a connection: cancelled when it is to be closed.
    pub(super) fn child(&self) -> CancellationToken {
        self.token().child_token()
    }

    pub(super) fn close_all(&self) {
        std::mem::take(&mut *self.token()).cancel();
    }
}
