//! The identity of the socket at a path: another engine may bind the same path while the old one still serves
//! its connections.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use tokio::net::UnixStream;

/// How often the socket may be replaced during one attempt to connect.
const ATTEMPTS: u32 = 3;

/// A socket in the file system.
///
/// The kernel keeps its inode as long as an engine listens on it or serves a connection that was made to it.
/// Later another file may get the same inode, so its time of birth counts too, where the file system has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketIdentity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl SocketIdentity {
    /// Identifies the socket that is bound at a path now.
    ///
    /// # Errors
    ///
    /// If the path cannot be read, or if there is something else than a socket: that is
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), as it is for connecting.
    pub fn at(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        if !file.file_type().is_socket() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Self { device: file.dev(), inode: file.ino(), born: file.created().ok() })
    }

    /// Returns whether another socket is bound at the path now. A path without a socket has not been taken over.
    #[must_use]
    pub fn is_replaced(&self, path: &Path) -> bool {
        Self::at(path).is_ok_and(|now| now != *self)
    }
}

/// Connects, and returns the identity of the socket that the connection was made to, where it can be read.
///
/// # Errors
///
/// If connecting fails, or if the socket is replaced during each of three attempts.
pub async fn connect(path: &Path) -> io::Result<(UnixStream, Option<SocketIdentity>)> {
    for _ in 0..ATTEMPTS {
        let before = SocketIdentity::at(path).ok();
        let stream = UnixStream::connect(path).await?;
        if before == SocketIdentity::at(path).ok() {
            return Ok((stream, before));
        }
    }
    Err(io::Error::other("the socket is replaced again and again"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;
    use std::time::Duration;

    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn only_another_socket_is_a_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let (_stream, bound) = connect(&path).await.unwrap();
        let _served = listener.accept().await.unwrap();
        let bound = bound.unwrap();
        assert_eq!(SocketIdentity::at(&path).unwrap(), bound);
        assert!(!bound.is_replaced(&path));
        fs::remove_file(&path).unwrap();
        assert!(!bound.is_replaced(&path), "the path is empty for a moment");
        fs::write(&path, "").unwrap();
        assert!(!bound.is_replaced(&path), "a file is no socket");
        assert_eq!(SocketIdentity::at(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        assert!(bound.is_replaced(&path));
        let (_stream, bound) = connect(&path).await.unwrap();
        assert!(!bound.unwrap().is_replaced(&path));
    }

    #[test]
    fn a_socket_with_the_inode_of_a_former_one_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _listener = StdListener::bind(&path).unwrap();
        let bound = SocketIdentity::at(&path).unwrap();
        // Not every file system has times of birth.
        if let Some(born) = bound.born {
            let former = SocketIdentity { born: Some(born - Duration::from_secs(1)), ..bound };
            assert!(former.is_replaced(&path));
        }
    }
}
