//! Where the server listens, and the task that does: started, ended, and started again.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Handle, task::JoinHandle};

use super::wire::{self, Connections, Reception, Serve};

/// Owns the socket and the task behind it, and ends them when it is dropped.
#[derive(Debug)]
pub(crate) struct Listening {
    host: Arc<dyn Serve>,
    connections: Arc<Connections>,
    runtime: Handle,
    socket: PathBuf,
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// Removed with everything in it at the end.
    _folder: Option<TempDir>,
}

impl Listening {
    /// At this path, or at one of this name in a private folder of its own. `Err` says where it could not listen.
    pub(crate) fn new(
        host: Arc<dyn Serve>,
        runtime: Handle,
        socket: Option<PathBuf>,
        name: &str,
    ) -> Result<Self, (String, io::Error)> {
        let (folder, socket) = match socket {
            Some(socket) => (None, socket),
            None => {
                let folder = tempfile::Builder::new()
                    .prefix("whale")
                    .tempdir()
                    .map_err(|source| (std::env::temp_dir().display().to_string(), source))?;
                let socket = folder.path().join(name);
                (Some(folder), socket)
            }
        };
        let connections = Arc::default();
        let listening =
            Self { host, connections, runtime, socket, accepting: Mutex::new(None), _folder: folder };
        listening.begin()?;
        Ok(listening)
    }

    fn accepting(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes the socket and takes connections from it. Nothing happens if it listens already.
    pub(crate) fn begin(&self) -> Result<(), (String, io::Error)> {
        let mut accepting = self.accepting();
        if accepting.is_some() {
            return Ok(());
        }
        let _context = self.runtime.enter();
        let listener =
            UnixListener::bind(&self.socket).map_err(|source| (self.socket.display().to_string(), source))?;
        let (host, connections) = (Arc::clone(&self.host), Arc::clone(&self.connections));
        *accepting = Some(tokio::spawn(wire::accept(listener, host, connections)));
        self.host.began();
        Ok(())
    }

    /// Removes the socket file, takes no more connections and closes those there are. Resolves when the socket is
    /// closed.
    pub(crate) async fn stop(&self) {
        if let Some(task) = self.end() {
            // An error says that it was aborted, which is what is awaited.
            let _ = task.await;
        }
        self.close_all();
    }

    /// Closes all connections; new ones are taken.
    pub(crate) fn close_all(&self) {
        self.connections.close_all();
    }

    /// How new connections are received from now on.
    pub(crate) fn receive(&self, reception: Reception) {
        self.connections.receive(reception);
    }

    /// What it returns is to be awaited to be sure that the socket is closed.
    fn end(&self) -> Option<JoinHandle<()>> {
        let accepting = self.accepting().take()?;
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, socket = %self.socket.display(), "the socket file was gone already");
        }
        accepting.abort();
        self.host.ended();
        Some(accepting)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.end();
        self.close_all();
    }
}
