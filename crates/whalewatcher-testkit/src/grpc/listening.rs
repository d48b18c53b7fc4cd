//! The socket of a server and the task that accepts its connections: started, stopped and started again.

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
    /// The server's own folder, removed at the end.
    _folder: Option<TempDir>,
}

impl Listening {
    /// Listens at this path, or at one of this name in a private folder of its own. `Err` contains the path
    /// at which it could not listen.
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

    /// Creates the socket and accepts connections; does nothing if it listens already.
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

    /// Removes the socket file, accepts no more connections and closes the open ones. Resolves when the
    /// socket is closed.
    pub(crate) async fn stop(&self) {
        if let Some(task) = self.end() {
            // The error of an aborted task is expected.
            let _ = task.await;
        }
        self.close_all();
    }

    /// Closes all connections; new ones are accepted.
    pub(crate) fn close_all(&self) {
        self.connections.close_all();
    }

    /// Sets how new connections are received.
    pub(crate) fn receive(&self, reception: Reception) {
        self.connections.receive(reception);
    }

    /// Await the returned task to be sure that the socket is closed.
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
