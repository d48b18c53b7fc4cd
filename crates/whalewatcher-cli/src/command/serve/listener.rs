//! The unix socket, and its connections.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Its user and group may connect.
const MODE: u32 = 0o660;

/// How many connections are served at once; others wait.
const MAX_CONNECTIONS: usize = 4_096;

/// The most bytes of a request.
const MAX_REQUEST: usize = 64 * 1024;

/// How long a request's head may take to arrive, also on a connection that is kept.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// How long answers may take to be written when the server ends.
const END_LIMIT: Duration = Duration::from_secs(1);

/// How long no connection is accepted after that has failed, as it does without free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A unix socket that is listened at. Its file is removed when this is dropped, unless another one is there by then.
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    file: (u64, u64),
}

impl Socket {
    /// Listens at this path, in place of a server that has ended.
    ///
    /// # Errors
    ///
    /// If something listens there, or is there and no socket, or the folder cannot be written.
    pub(super) fn bind(path: &Path) -> anyhow::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                bail!("--socket {}: there is a file that is no socket", path.display())
            }
            // It is refused if the server has ended.
            Ok(_) if UnixStream::connect(path).is_ok() => {
                bail!("--socket {}: another server listens there", path.display())
            }
            _ => {}
        }
        let failed = || format!("--socket {}: cannot listen there", path.display());
        // By another name until it has its permissions; a socket that a server left is replaced.
        let mut name = path.file_name().context("--socket names no file")?.to_owned();
        name.push(format!(".{}", std::process::id()));
        let fresh = path.with_file_name(name);
        let bound = listen(&fresh).and_then(|listener| {
            let found = fs::metadata(&fresh)?;
            fs::rename(&fresh, path)?;
            Ok((listener, (found.dev(), found.ino())))
        });
        match bound {
            Ok((listener, file)) => Ok(Self { listener, path: path.to_owned(), file }),
            Err(error) => {
                if error.kind() != ErrorKind::AddrInUse {
                    let _ = fs::remove_file(&fresh);
                }
                Err(error).with_context(failed)
            }
        }
    }

    /// Serves all connections, until this is dropped. Then `ending` is to be cancelled: each connection is a task that ends soon.
    pub(super) async fn serve(&self, app: Router, ending: &CancellationToken, tasks: &TaskTracker) {
        let free = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // It is never closed.
            let Ok(permit) = free.clone().acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let (app, ending) = (TowerToHyperService::new(app.clone()), ending.clone());
            tasks.spawn(async move {
                let _permit = permit;
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_REQUEST);
                let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), app));
                // What fails concerns its client only.
                tokio::select! {
                    _ = &mut connection => return,
                    () = ending.cancelled() => {}
                }
                connection.as_mut().graceful_shutdown();
                let _ = timeout(END_LIMIT, connection).await;
            });
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok(listener)
}

impl Drop for Socket {
    fn drop(&mut self) {
        let is_own =
            fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if is_own {
            let _ = fs::remove_file(&self.path);
        }
    }
}
