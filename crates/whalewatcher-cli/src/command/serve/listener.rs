//! The unix socket.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use axum::Router;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{accept_all, serve};

/// Its user and group may connect.
const MODE: u32 = 0o660;

/// Others could hold a lock that they can open.
const LOCK_MODE: u32 = 0o600;

/// A unix socket that is listened at. Its file is removed when this is dropped, unless another one is there by then.
pub(super) struct Socket {
    listener: UnixListener,
    /// Its path, and which file that is; `None` if it belongs to the service manager.
    file: Option<(PathBuf, (u64, u64))>,
}

impl Socket {
    /// Listens at this path, which an option names, in place of a server that has ended.
    ///
    /// # Errors
    ///
    /// If something listens there, or is there and no socket, or the folder cannot be written.
    pub(super) fn bind(path: &Path, option: &str) -> anyhow::Result<Self> {
        let failed = || format!("{option} {}: cannot listen there", path.display());
        let name = path.file_name().with_context(|| format!("{option} names no file"))?;
        let beside = |suffix: String| {
            let mut name = name.to_owned();
            name.push(suffix);
            path.with_file_name(name)
        };
        let Some(_lock) = Lock::acquire(beside(".lock".to_owned())).with_context(failed)? else {
            bail!("{option} {}: another server is starting there", path.display());
        };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                bail!("{option} {}: there is a file that is no socket", path.display())
            }
            // It is refused if the server has ended.
            Ok(_) if UnixStream::connect(path).is_ok() => {
                bail!("{option} {}: another server listens there", path.display())
            }
            _ => {}
        }
        // By another name until it has its permissions; a socket that a server left is replaced.
        let fresh = beside(format!(".{}", std::process::id()));
        let bound = listen(&fresh).and_then(|listener| {
            let found = fs::metadata(&fresh)?;
            fs::rename(&fresh, path)?;
            Ok((listener, (found.dev(), found.ino())))
        });
        match bound {
            Ok((listener, file)) => Ok(Self { listener, file: Some((path.to_owned(), file)) }),
            Err(error) => {
                if error.kind() != ErrorKind::AddrInUse {
                    let _ = fs::remove_file(&fresh);
                }
                Err(error).with_context(failed)
            }
        }
    }

    /// Listens at a socket that the service manager has opened, and keeps.
    ///
    /// # Errors
    ///
    /// If it cannot be used here.
    pub(super) fn passed(listener: std::os::unix::net::UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, file: None })
    }

    /// Returns the URL at which it listens.
    pub(super) fn url(&self) -> String {
        let address = self.listener.local_addr().ok();
        let own = self.file.as_ref().map(|(path, _)| path.as_path());
        let path = own.or_else(|| address.as_ref()?.as_pathname());
        format!("unix://{}", path.unwrap_or(Path::new("")).display())
    }

    /// Serves all connections, until this is dropped. Then `ending` is to be cancelled: each connection is a
    /// task that ends soon.
    pub(super) async fn serve(&self, app: Router, ending: &CancellationToken, tasks: &TaskTracker) {
        let accept = async || self.listener.accept().await.map(|(stream, _)| stream);
        accept_all(accept, tasks, |stream| serve(stream, app.clone(), ending.clone())).await;
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok(listener)
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some((path, file)) = &self.file
            && fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == *file)
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Held while a server takes over a path, so that of two at the same moment one does. Its file is removed
/// when this is dropped.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Returns `None` if another process has it.
    fn acquire(path: PathBuf) -> io::Result<Option<Self>> {
        loop {
            let file =
                OpenOptions::new().write(true).create(true).truncate(false).mode(LOCK_MODE).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The former owner may have removed it after it was opened here.
            let own = file.metadata()?;
            if fs::symlink_metadata(&path)
                .is_ok_and(|found| (found.dev(), found.ino()) == (own.dev(), own.ino()))
            {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_two_servers_that_start_at_the_same_moment_one_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let lock = Lock::acquire(folder.path().join("s.lock")).unwrap();
        assert!(lock.is_some());
        let refused = Socket::bind(&path, "--socket").err().unwrap().to_string();
        assert!(refused.ends_with("another server is starting there"), "{refused}");
        drop(lock);
        let socket = Socket::bind(&path, "--socket").unwrap();
        let names = || {
            let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(), ["s"]);
        let refused = Socket::bind(&path, "--socket").err().unwrap().to_string();
        assert!(refused.ends_with("another server listens there"), "{refused}");
        drop(socket);
        assert!(names().is_empty());
    }

    #[tokio::test]
    async fn many_servers_that_start_together_leave_one_that_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // A server that was killed left it.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let begin = std::sync::Barrier::new(8);
        let runtime = tokio::runtime::Handle::current();
        let sockets = std::thread::scope(|scope| {
            let start = || {
                let _runtime = runtime.enter();
                begin.wait();
                Socket::bind(&path, "--socket").ok()
            };
            let starting: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            starting.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(sockets.len(), 1);
        assert!(UnixStream::connect(&path).is_ok());
    }
}
