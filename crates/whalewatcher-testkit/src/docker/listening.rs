//! The sockets of the server and the tasks that serve them: started, stopped, and started again.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;
use tokio::{
    net::{TcpListener, UnixListener},
    runtime::Handle,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{Error, server::Shared, wire};

/// The addresses to listen on.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) socket: PathBuf,
    /// Port 0 until the server has listened there once.
    pub(super) tcp: Option<SocketAddr>,
}

impl Address {
    pub(super) fn unix_endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub(super) fn tcp_endpoint(&self) -> Option<String> {
        self.tcp.map(|address| format!("tcp://{address}"))
    }
}

/// Owns the sockets and their tasks, and ends them when it is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    shared: Arc<Shared>,
    runtime: Handle,
    state: Mutex<State>,
    /// A folder that is removed with its content at the end.
    _folder: Option<TempDir>,
}

#[derive(Debug)]
struct State {
    address: Address,
    accepting: Vec<JoinHandle<()>>,
}

impl Listening {
    pub(super) fn new(
        shared: Arc<Shared>,
        runtime: Handle,
        address: Address,
        folder: Option<TempDir>,
    ) -> Result<Self, Error> {
        let state = Mutex::new(State { address, accepting: Vec::new() });
        let listening = Self { shared, runtime, state, _folder: folder };
        listening.begin_after(|| ())?;
        Ok(listening)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn address(&self) -> Address {
        self.state().address.clone()
    }

    /// Calls a function, then creates the sockets and accepts connections. Does nothing if the server listens
    /// already.
    pub(super) fn begin_after(&self, first: impl FnOnce()) -> Result<(), Error> {
        let mut state = self.state();
        if !state.accepting.is_empty() {
            return Ok(());
        }
        first();
        let _context = self.runtime.enter();
        // The port first: if it fails, no socket file is left behind.
        let tcp = state.address.tcp.map(bind_tcp).transpose().map_err(|source| Error::Listen {
            endpoint: state.address.tcp_endpoint().unwrap_or_default(),
            source,
        })?;
        let unix = UnixListener::bind(&state.address.socket)
            .map_err(|source| Error::Listen { endpoint: state.address.unix_endpoint(), source })?;
        state.accepting.push(tokio::spawn(wire::accept_unix(unix, Arc::clone(&self.shared))));
        if let Some((listener, address)) = tcp {
            state.address.tcp = Some(address);
            state.accepting.push(tokio::spawn(wire::accept_tcp(listener, Arc::clone(&self.shared))));
        }
        Ok(())
    }

    /// Removes the socket file and accepts no more connections. The sockets are closed once the returned handles have
    /// resolved.
    pub(super) fn end(&self) -> Vec<JoinHandle<()>> {
        let mut state = self.state();
        let accepting = std::mem::take(&mut state.accepting);
        if !accepting.is_empty()
            && let Err(error) = std::fs::remove_file(&state.address.socket)
        {
            tracing::debug!(%error, socket = %state.address.socket.display(), "the socket file was gone already");
        }
        for task in &accepting {
            task.abort();
        }
        accepting
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.end();
        self.shared.disconnect();
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

/// Closes all connections that are open at a time.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<CancellationToken>);

impl Connections {
    fn token(&self) -> MutexGuard<'_, CancellationToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a token for a connection, which is cancelled to close it.
    pub(super) fn current(&self) -> CancellationToken {
        self.token().clone()
    }

    pub(super) fn close_all(&self) {
        std::mem::take(&mut *self.token()).cancel();
    }
}
