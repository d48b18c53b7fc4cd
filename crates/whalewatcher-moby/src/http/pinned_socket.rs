//! Detects that another socket was bound at an endpoint's path.
//!
//! Connections made before still lead to the former engine, which may go on running: neither they nor its
//! events show that another engine answers at the path by now.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use tokio::net::UnixStream;
use tokio::sync::watch;
use whalewatcher_adapter::{Reached, SocketIdentity};
use whalewatcher_core::{EngineError, ErrorKind, Printable};

/// How many times to connect if the path changes each time while connecting.
const ATTEMPTS: usize = 10;

/// The socket that all connections of a transport lead to: that of the first connection.
#[derive(Debug)]
pub(crate) struct PinnedSocket {
    path: PathBuf,
    file: OnceLock<SocketIdentity>,
    replaced: watch::Sender<bool>,
    /// Where it is recorded.
    reached: Reached,
}

impl PinnedSocket {
    pub(crate) fn new(path: PathBuf, reached: Reached) -> Self {
        Self { path, file: OnceLock::new(), replaced: watch::Sender::new(false), reached }
    }

    /// Connects to the same socket as before.
    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        for _ in 0..ATTEMPTS {
            let before = SocketIdentity::at(&self.path)?;
            let stream = UnixStream::connect(&self.path).await?;
            // The path may have changed while connecting.
            let certain = SocketIdentity::at(&self.path).is_ok_and(|after| after == before);
            match self.file.get() {
                None if !certain => {}
                file if certain && file.is_none_or(|file| *file == before) => {
                    // Of several concurrent first connections one decides.
                    if *self.file.get_or_init(|| before) == before {
                        self.reached.record(Some(before));
                        return Ok(stream);
                    }
                    return Err(self.fail());
                }
                _ => return Err(self.fail()),
            }
        }
        Err(self.fail())
    }

    /// Fails if the path leads to another socket by now. One that leads nowhere proves nothing: the engine
    /// may go on running.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let file = self.file.get();
        let other = file.is_some_and(|file| SocketIdentity::at(&self.path).is_ok_and(|now| now != *file));
        if other || *self.replaced.borrow() {
            self.replaced.send_replace(true);
            return Err(self.error());
        }
        Ok(())
    }

    /// Resolves with the reason once another socket was noticed at the path.
    pub(crate) async fn replaced(&self) -> EngineError {
        // Waiting cannot fail, because `self` owns the sender.
        let _ = self.replaced.subscribe().wait_for(|replaced| *replaced).await;
        self.error()
    }

    fn fail(&self) -> io::Error {
        self.replaced.send_replace(true);
        io::Error::other(self.error())
    }

    fn error(&self) -> EngineError {
        let path = self.path.display().to_string();
        let message = format!("another socket was bound at {}: connecting again", Printable(&path));
        EngineError::new(ErrorKind::Disconnected, message)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use tokio::net::UnixListener;

    use super::*;

    fn is_replaced(home: &PinnedSocket) -> bool {
        let mut replaced = std::pin::pin!(home.replaced());
        replaced.as_mut().poll(&mut Context::from_waker(Waker::noop())) != Poll::Pending
    }

    #[tokio::test]
    async fn another_socket_at_the_path_is_detected_and_not_connected_to() {
        let folder = tempfile::tempdir().unwrap();
        let (path, away) = (folder.path().join("s"), folder.path().join("away"));
        let home = PinnedSocket::new(path.clone(), Reached::default());
        assert_eq!(home.connect().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(home.check().is_ok(), "no socket is pinned yet");

        let _first = UnixListener::bind(&path).unwrap();
        for _ in 0..2 {
            home.connect().await.unwrap();
        }
        fs::rename(&path, &away).unwrap();
        assert_eq!(home.connect().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(home.check().is_ok() && !is_replaced(&home), "a path that leads nowhere is no other engine");
        fs::write(&path, "").unwrap();
        assert_eq!(home.connect().await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(home.check().is_ok() && !is_replaced(&home), "a file that is no socket is no other engine");
        fs::rename(&away, &path).unwrap();
        home.connect().await.unwrap();

        fs::remove_file(&path).unwrap();
        let _second = UnixListener::bind(&path).unwrap();
        let error = home.connect().await.unwrap_err();
        let error = error.get_ref().and_then(|error| error.downcast_ref::<EngineError>()).unwrap();
        assert_eq!(error.kind(), ErrorKind::Disconnected);
        assert!(error.to_string().contains("another socket was bound at /"), "{error}");
        assert!(home.check().is_err() && is_replaced(&home));
    }

    #[tokio::test]
    async fn a_check_detects_it_without_connecting() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("s"), folder.path().join("other"));
        let _first = UnixListener::bind(&path).unwrap();
        let _second = UnixListener::bind(&other).unwrap();
        let home = PinnedSocket::new(path.clone(), Reached::default());
        home.connect().await.unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(home.check().unwrap_err().kind(), ErrorKind::Disconnected);
        assert!(is_replaced(&home));
    }
}
