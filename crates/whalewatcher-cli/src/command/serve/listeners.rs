//! All that is listened at: a unix socket, TCP addresses, and sockets that the service manager passes.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context, bail};
use axum::Router;
use futures_util::future::{join, join_all};
use listenfd::ListenFd;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::Socket;
use super::tcp::{Guard, Listener};
use crate::args::{ListenArgs, wrong};

/// Where the socket is by default.
const SOCKET: &str = "/run/whalewatcher.sock";

/// What is listened at. Dropping it stops that.
pub(super) struct Listeners {
    sockets: Vec<Socket>,
    addresses: Vec<Listener>,
    /// Where, and what to know about that.
    pub(super) notes: Vec<String>,
}

impl Listeners {
    /// # Errors
    ///
    /// If one of them cannot be listened at, or would be open to everyone.
    pub(super) async fn bind(arguments: &ListenArgs) -> anyhow::Result<Self> {
        let passed = Passed::take()?;
        let guard = Guard::new(arguments)?;
        let is_passed = !passed.sockets.is_empty() || !passed.addresses.is_empty();
        let mut sockets = Vec::new();
        for listener in passed.sockets {
            sockets.push(Socket::passed(listener).context("a socket of the service manager")?);
        }
        match &arguments.socket {
            None if is_passed => {}
            path => sockets.push(Socket::bind(path.as_deref().unwrap_or(Path::new(SOCKET)), "--socket")?),
        }
        let mut addresses = Vec::new();
        for listener in passed.addresses {
            addresses.push(Listener::passed(listener, guard.as_ref())?);
        }
        for address in &arguments.addresses {
            addresses.push(Listener::bind(*address, guard.as_ref()).await?);
        }
        let is_for_addresses =
            guard.is_some() || arguments.listen_cert.is_some() || !arguments.allowed_hosts.is_empty();
        if addresses.is_empty() && is_for_addresses {
            return Err(wrong(
                "tokens, certificates and --allow-host are for clients over TCP: --listen ADDRESS",
            ));
        }
        let mut notes: Vec<_> = sockets.iter().map(|socket| format!("serving at {}", socket.url())).collect();
        for address in &addresses {
            notes.push(format!("serving at {}", address.url()?));
        }
        notes.extend(guard.and_then(|guard| guard.warning));
        Ok(Self { sockets, addresses, notes })
    }

    /// Serves all connections, until this is dropped. Then `ending` is to be cancelled: each connection is a
    /// task that ends soon.
    pub(super) async fn serve(&self, app: Router, ending: &CancellationToken, tasks: &TaskTracker) {
        let sockets = self.sockets.iter().map(|socket| socket.serve(app.clone(), ending, tasks));
        let addresses = self.addresses.iter().map(|address| address.serve(app.clone(), ending, tasks));
        join(join_all(sockets), join_all(addresses)).await;
    }
}

/// The sockets that the service manager has opened (`LISTEN_FDS`).
#[derive(Default)]
struct Passed {
    sockets: Vec<UnixListener>,
    addresses: Vec<TcpListener>,
}

impl Passed {
    /// Takes them, and the variables from the environment.
    fn take() -> anyhow::Result<Self> {
        let (mut passed, mut all) = (Self::default(), ListenFd::from_env());
        for nth in 0..all.len() {
            // A socket of another kind is left there.
            if let Ok(Some(socket)) = all.take_unix_listener(nth) {
                passed.sockets.push(socket);
            } else if let Ok(Some(address)) = all.take_tcp_listener(nth) {
                passed.addresses.push(address);
            } else {
                bail!(
                    "socket {nth} of the service manager is neither a unix socket nor one for TCP: use ListenStream="
                );
            }
        }
        Ok(passed)
    }
}
