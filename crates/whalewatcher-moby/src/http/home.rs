//! Which socket an engine was found at, so that another one bound at the same path is noticed.
//!
//! Connections that are kept still lead to the engine from before, which may live on: neither they nor its events show that
//! somebody else answers at the path by now.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use tokio::net::UnixStream;
use tokio::sync::watch;
use whalewatcher_core::{EngineError, ErrorKind, Printable};

/// How often to connect until nobody binds another socket meanwhile.
const ATTEMPTS: usize = 10;

/// What a path leads to. Filesystems give the numbers of inodes out again, so the time of birth counts too where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self { device: file.dev(), inode: file.ino(), born: file.created().ok() })
    }
}

/// The one socket that all connections of a transport lead to: that of the first connection.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    place: OnceLock<Place>,
    left: watch::Sender<bool>,
}

impl Home {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, place: OnceLock::new(), left: watch::Sender::new(false) }
    }

    /// Connects to the same socket as before, or fails.
    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        for _ in 0..ATTEMPTS {
            let before = Place::of(&self.path)?;
            let stream = UnixStream::connect(&self.path).await?;
            // A path that leads elsewhere by now may have done so while connecting.
            let certain = Place::of(&self.path).is_ok_and(|after| after == before);
            match self.place.get() {
                None if !certain => {}
                place if certain && place.is_none_or(|place| *place == before) => {
                    // Of several first connections one decides.
                    if *self.place.get_or_init(|| before) == before {
                        return Ok(stream);
                    }
                    return Err(self.leave());
                }
                _ => return Err(self.leave()),
            }
        }
        Err(self.leave())
    }

    /// Fails if the path leads to another socket by now. One that leads nowhere says nothing: the engine may live on.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let place = self.place.get();
        let other = place.is_some_and(|place| Place::of(&self.path).is_ok_and(|now| now != *place));
        if other || *self.left.borrow() {
            self.left.send_replace(true);
            return Err(self.error());
        }
        Ok(())
    }

    /// Resolves with the reason once it was noticed that the path leads to another socket.
    pub(crate) async fn left(&self) -> EngineError {
        // The sender is part of this, so waiting does not fail.
        let _ = self.left.subscribe().wait_for(|left| *left).await;
        self.error()
    }

    fn leave(&self) -> io::Error {
        self.left.send_replace(true);
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
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use tokio::net::UnixListener;

    use super::*;

    fn is_left(home: &Home) -> bool {
        let mut left = std::pin::pin!(home.left());
        left.as_mut().poll(&mut Context::from_waker(Waker::noop())) != Poll::Pending
    }

    #[tokio::test]
    async fn another_socket_at_the_path_is_noticed_and_never_connected_to() {
        let folder = tempfile::tempdir().unwrap();
        let (path, away) = (folder.path().join("s"), folder.path().join("away"));
        let home = Home::new(path.clone());
        assert_eq!(home.connect().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(home.check().is_ok(), "nothing is known yet");

        let _first = UnixListener::bind(&path).unwrap();
        for _ in 0..2 {
            home.connect().await.unwrap();
        }
        fs::rename(&path, &away).unwrap();
        assert_eq!(home.connect().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(home.check().is_ok() && !is_left(&home), "a path that leads nowhere is no other engine");
        fs::rename(&away, &path).unwrap();
        home.connect().await.unwrap();

        fs::remove_file(&path).unwrap();
        let _second = UnixListener::bind(&path).unwrap();
        let error = home.connect().await.unwrap_err();
        let error = error.get_ref().and_then(|error| error.downcast_ref::<EngineError>()).unwrap();
        assert_eq!(error.kind(), ErrorKind::Disconnected);
        assert!(error.to_string().contains("another socket was bound at /"), "{error}");
        assert!(home.check().is_err() && is_left(&home));
    }

    #[tokio::test]
    async fn a_check_alone_notices_it_too() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("s"), folder.path().join("other"));
        let _first = UnixListener::bind(&path).unwrap();
        let _second = UnixListener::bind(&other).unwrap();
        let home = Home::new(path.clone());
        home.connect().await.unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(home.check().unwrap_err().kind(), ErrorKind::Disconnected);
        assert!(is_left(&home));
    }
}
