//! Which socket is bound at a path: another engine may take a path over while the old one still serves its connections.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::{fs, io};

use tokio::net::UnixStream;

/// How often the socket may be replaced while a connection to it is made.
const ATTEMPTS: u32 = 3;

/// A socket in the file system. Its inode is not given to another file as long as an engine listens on it or serves a
/// connection that was made to it, for the kernel holds on to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    device: u64,
    inode: u64,
}

impl Bound {
    /// The socket that is bound at a path now; `None` if there is none, or none to be seen.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let is_socket = metadata.file_type().is_socket();
        is_socket.then(|| Self { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Whether another socket is bound at the path by now. A path where there is none is not taken over.
    pub(crate) fn is_replaced(self, path: &Path) -> bool {
        Self::at(path).is_some_and(|bound| bound != self)
    }
}

/// Connects, and returns which socket the connection was made to, where that can be seen.
pub(crate) async fn connect(path: &Path) -> io::Result<(UnixStream, Option<Bound>)> {
    for _ in 0..ATTEMPTS {
        let before = Bound::at(path);
        let stream = UnixStream::connect(path).await?;
        if before == Bound::at(path) {
            return Ok((stream, before));
        }
    }
    Err(io::Error::other("the socket is replaced again and again"))
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn only_another_socket_at_the_path_is_a_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let (_stream, bound) = connect(&path).await.unwrap();
        let _served = listener.accept().await.unwrap();
        let bound = bound.unwrap();
        assert!(!bound.is_replaced(&path));
        fs::remove_file(&path).unwrap();
        assert!(!bound.is_replaced(&path), "there is none for a moment");
        fs::write(&path, "").unwrap();
        assert!(!bound.is_replaced(&path), "that is no socket");
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        assert!(bound.is_replaced(&path));
        let (_stream, bound) = connect(&path).await.unwrap();
        assert!(!bound.unwrap().is_replaced(&path));
    }
}
