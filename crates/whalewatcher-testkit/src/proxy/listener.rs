//! The proxy's listener, which can stop listening and listen again.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::{
    net::{TcpListener, TcpSocket, UnixListener},
    runtime::Handle,
    sync::Notify,
};

use super::{
    fault::Refusal,
    socket::{Endpoint, Error, Socket},
};

const BACKLOG: u32 = 1024;

/// An address to listen on.
#[derive(Debug)]
pub(super) enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

#[derive(Debug)]
enum Door {
    Unix(UnixListener),
    Tcp(TcpListener),
    /// Closed. A bound TCP socket that does not listen reserves the port.
    Shut(Option<TcpSocket>),
}

/// A listener that can be closed and opened at any time, with immediate effect.
#[derive(Debug)]
pub(super) struct Listener {
    runtime: Handle,
    place: Place,
    door: Mutex<Door>,
    opened: Notify,
}

impl Listener {
    /// Listens; a port of 0 becomes a free one.
    pub(super) fn new(runtime: Handle, mut place: Place) -> Result<Self, Error> {
        let endpoint = endpoint(&place);
        let context = runtime.enter();
        let opened = match &mut place {
            Place::Unix(path) => UnixListener::bind(path).map(Door::Unix),
            Place::Tcp(address) => bind(*address).and_then(|socket| {
                let listener = socket.listen(BACKLOG)?;
                *address = listener.local_addr()?;
                Ok(Door::Tcp(listener))
            }),
        };
        let door = opened.map_err(|source| Error::Listen { endpoint: endpoint.to_string(), source })?;
        drop(context);
        Ok(Self { runtime, place, door: Mutex::new(door), opened: Notify::new() })
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        endpoint(&self.place)
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the next connection. Waits without a time limit, also while the listener is closed.
    pub(super) async fn accept(&self) -> io::Result<Socket> {
        loop {
            tokio::select! {
                accepted = std::future::poll_fn(|context| self.poll_accept(context)) => return accepted,
                () = self.opened.notified() => {}
            }
        }
    }

    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        Poll::Ready(match &*self.door() {
            Door::Unix(listener) => {
                ready!(listener.poll_accept(context)).map(|(stream, _)| Socket::Unix(stream))
            }
            Door::Tcp(listener) => {
                ready!(listener.poll_accept(context)).and_then(|(stream, _)| Socket::tcp(stream))
            }
            Door::Shut(_) => return Poll::Pending,
        })
    }

    /// Stops listening. Connections that were not accepted yet are lost.
    pub(super) fn close(&self, how: Refusal) {
        let mut door = self.door();
        let _context = self.runtime.enter();
        match &self.place {
            Place::Unix(path) => {
                *door = Door::Shut(None);
                let there = path.exists();
                match how {
                    Refusal::Gone if there => drop(fs::remove_file(path)),
                    // A listener that is closed leaves its file behind.
                    Refusal::Closed if !there => drop(unix::net::UnixListener::bind(path)),
                    Refusal::Gone | Refusal::Closed => {}
                }
            }
            Place::Tcp(address) => {
                if !matches!(*door, Door::Shut(_)) {
                    *door = Door::Shut(None);
                    *door = Door::Shut(bind(*address).ok());
                }
            }
        }
    }

    /// Listens again, with a new socket file or at the same port. Does nothing if it listens.
    pub(super) fn open(&self) -> Result<(), Error> {
        let mut door = self.door();
        let Door::Shut(socket) = &mut *door else { return Ok(()) };
        let _context = self.runtime.enter();
        let opened = match &self.place {
            Place::Unix(path) => {
                // If this failed, binding reports it.
                let _ = fs::remove_file(path);
                UnixListener::bind(path).map(Door::Unix)
            }
            Place::Tcp(address) => {
                let socket = socket.take().map_or_else(|| bind(*address), Ok);
                socket.and_then(|socket| socket.listen(BACKLOG)).map(Door::Tcp)
            }
        };
        *door = opened.map_err(|source| Error::Listen { endpoint: self.endpoint().to_string(), source })?;
        self.opened.notify_one();
        Ok(())
    }
}

fn endpoint(place: &Place) -> Endpoint {
    match place {
        Place::Unix(path) => Endpoint::Unix(path.clone()),
        Place::Tcp(address) => Endpoint::Tcp(address.to_string()),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Returns a free port of this host.
pub(super) fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}
