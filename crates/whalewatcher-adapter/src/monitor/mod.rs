//! Waits until an engine listens at its socket again.
//!
//! A socket that was bound since the last attempt is left to the next attempt, which may come too early: the
//! kernel reports when a file appears in a folder, but not when a socket that is bound begins to listen. So a
//! socket that the last attempt found but could not connect to is tried for a while, and after each change.
//! One that it connected to is left alone, however the attempt ended.

#[cfg(target_os = "linux")]
mod folders;

use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

#[cfg(target_os = "linux")]
pub use self::folders::Folders;
use crate::socket::{self, SocketIdentity};

/// How long to try a socket after it was noticed. An engine listens right after binding it.
const SETTLED: Duration = Duration::from_secs(5);

/// How often to try it meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// How long to wait after a change for others that belong to it. So a folder in which the path changes all
/// the time is read 100 times a second at most.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until an engine listens at its socket again, for
/// [`EngineClient::reachable`](whalewatcher_core::adapter::EngineClient::reachable).
#[derive(Debug)]
pub struct SocketMonitor {
    path: PathBuf,
    reached: Reached,
    /// The socket that was noticed last, and when.
    noticed: Mutex<Option<(SocketIdentity, Instant)>>,
}

/// The socket that the last attempt connected to.
#[derive(Clone, Debug, Default)]
pub struct Reached(Arc<Mutex<Option<SocketIdentity>>>);

impl Reached {
    /// Records that a connection to this socket was made.
    pub fn record(&self, socket: Option<SocketIdentity>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = socket;
    }

    fn get(&self) -> Option<SocketIdentity> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SocketMonitor {
    /// Creates a monitor of the socket at an absolute path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reached: Reached::default(), noticed: Mutex::default() }
    }

    /// Begins an attempt to connect, and returns where to record the socket that it connects to.
    #[must_use]
    pub fn begin_attempt(&self) -> Reached {
        self.reached.record(None);
        // That one is tried by the attempt.
        self.other_socket().map(|socket| self.noticed_since(socket));
        self.reached.clone()
    }

    /// Resolves once there is a socket that was bound since the last attempt, or once one listens that the
    /// last attempt could not connect to. Never resolves where the folders of the path cannot be watched, as
    /// on other systems than Linux.
    pub async fn listening(&self) {
        if let Err(error) = self.watch(Folders::watch).await {
            tracing::debug!(path = %self.path.display(), %error, "cannot watch the socket");
            pending::<()>().await;
        }
    }

    async fn watch(&self, open: impl Fn(&Path) -> io::Result<Folders>) -> io::Result<()> {
        loop {
            // Before looking at the socket, so that no change goes unnoticed in between.
            let folders = open(&self.path)?;
            loop {
                let mut wait = Duration::MAX;
                if let Some(socket) = self.other_socket() {
                    let Some(noticed) = self.noticed_since(socket) else { return Ok(()) };
                    if socket::connect(&self.path).await.is_ok() {
                        return Ok(());
                    }
                    if noticed.elapsed() < SETTLED {
                        wait = TRY_EVERY;
                    }
                }
                if let Ok(changed) = timeout(wait, folders.changed()).await {
                    break changed?;
                }
            }
            drop(folders);
            sleep(PAUSE).await;
        }
    }

    /// Returns the socket that is there, unless the last attempt connected to it.
    fn other_socket(&self) -> Option<SocketIdentity> {
        SocketIdentity::at(&self.path).ok().filter(|socket| self.reached.get() != Some(*socket))
    }

    /// Returns when this socket was noticed, and records that it is by now; `None` if it was not yet.
    fn noticed_since(&self, socket: SocketIdentity) -> Option<Instant> {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, at) = noticed.filter(|(known, _)| *known == socket).unzip();
        if at.is_none() {
            *noticed = Some((socket, Instant::now()));
        }
        at
    }
}

/// Folders cannot be watched on this system.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Folders;

#[cfg(not(target_os = "linux"))]
impl Folders {
    fn watch(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn changed(&self) -> io::Result<()> {
        pending().await
    }
}

#[cfg(test)]
mod tests;
