//! Waits until an engine listens at its socket again.
//!
//! The kernel reports when a file appears in a folder, but not when a socket that is bound begins to listen. So after each
//! change, and for a while after a socket was noticed, it is tried. A socket that the last attempt connected to is left alone,
//! however the attempt ended, until another one is bound at the path.

#[cfg(target_os = "linux")]
mod folders;

use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

#[cfg(target_os = "linux")]
use self::folders::Folders;
use crate::socket::{self, SocketIdentity};

/// How long to try a socket after it was noticed. An engine listens right after binding it.
const SETTLED: Duration = Duration::from_secs(5);

/// How often to try it meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// How long to wait after a change for others that belong to it. So a folder in which the path changes all the time is read 100
/// times a second at most.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits until an engine listens at its socket again, for
/// [`EngineClient::reachable`](whalewatcher_core::adapter::EngineClient::reachable).
#[derive(Debug)]
pub struct SocketMonitor {
    path: PathBuf,
    reached: Reached,
    /// The socket that is there, and when it was noticed, if the last attempt did not connect to it.
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
        self.reached.clone()
    }

    /// Resolves once something listens at the path that the last attempt did not connect to: a socket that was bound since, or
    /// one that did not listen yet. Never resolves where the folders of the path cannot be watched, as on other systems than
    /// Linux.
    pub async fn listening(&self) {
        if let Err(error) = self.watch(Folders::watch).await {
            tracing::debug!(path = %self.path.display(), %error, "cannot watch the socket");
            pending().await
        }
    }

    async fn watch(&self, open: impl Fn(&Path) -> io::Result<Folders>) -> io::Result<()> {
        loop {
            // Before looking at the socket, so that no change goes unnoticed in between.
            let folders = open(&self.path)?;
            loop {
                let noticed = self.notice();
                if noticed.is_some() && socket::connect(&self.path).await.is_ok() {
                    return Ok(());
                }
                let is_new = noticed.is_some_and(|noticed| noticed.elapsed() < SETTLED);
                let wait = if is_new { TRY_EVERY } else { Duration::MAX };
                if let Ok(changed) = timeout(wait, folders.changed()).await {
                    break changed?;
                }
            }
            drop(folders);
            sleep(PAUSE).await;
        }
    }

    /// Returns when the socket that is there was noticed; `None` if there is none, or the one that the last attempt connected
    /// to.
    fn notice(&self) -> Option<Instant> {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        let other = SocketIdentity::at(&self.path).ok().filter(|socket| self.reached.get() != Some(*socket))?;
        match *noticed {
            Some((socket, at)) if socket == other => Some(at),
            _ => {
                let now = Instant::now();
                *noticed = Some((other, now));
                Some(now)
            }
        }
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
