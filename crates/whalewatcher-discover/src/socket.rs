//! Where an engine may answer.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use whalewatcher_core::{EngineError, ErrorKind};

use crate::gate::Gate;
use crate::location::Location;

/// An endpoint at which an engine may answer, for [detectors](crate::Detector).
#[derive(Clone, Debug)]
pub struct Socket {
    endpoint: String,
    path: Option<String>,
    /// Keeps the folder open that the path leads through.
    _folder: Option<Arc<OwnedFd>>,
    gate: Gate,
    location: Location,
}

impl Socket {
    /// The socket at a path, which is its name too.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let path = path.to_str()?.to_owned();
        Some(Self {
            endpoint: format!("unix://{path}"),
            path: Some(path),
            _folder: None,
            gate: Gate::default(),
            location: Location::default(),
        })
    }

    /// A socket in an open folder, with the path by which it can be found while its process runs.
    #[cfg(target_os = "linux")]
    pub(crate) fn within(folder: OwnedFd, name: &str, known_as: &Path) -> Option<Self> {
        use std::os::fd::AsRawFd;
        Some(Self {
            endpoint: format!("unix://{}", known_as.to_str()?),
            path: Some(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())),
            _folder: Some(Arc::new(folder)),
            gate: Gate::default(),
            location: Location::default(),
        })
    }

    /// An endpoint of another kind.
    pub(crate) fn url(url: impl Into<String>) -> Self {
        Self {
            endpoint: url.into(),
            path: None,
            _folder: None,
            gate: Gate::default(),
            location: Location::default(),
        }
    }

    pub(crate) fn gated(self, gate: Gate) -> Self {
        Self { gate, ..self }
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Returns the endpoint as a URL, for the endpoint of the client. A path in it may be too long to connect
    /// to, and may be that of another process later.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the path to connect to, if it is a unix socket. It stays valid as long as this socket or a
    /// clone of it exists, so a client must keep one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Checks, before an attempt to connect, that connecting does not start an engine: clients call it in
    /// [`EngineClient::before_attempt`](whalewatcher_core::adapter::EngineClient::before_attempt).
    ///
    /// # Errors
    ///
    /// If the service manager listens at the socket, and the engine's process has ended.
    pub fn check(&self) -> Result<(), EngineError> {
        match self.gate.is_open() {
            true => Ok(()),
            false => Err(EngineError::new(
                ErrorKind::Unreachable,
                format!("no engine runs at {}, and connecting would start one", self.endpoint),
            )),
        }
    }
}

/// A file, whatever paths lead to it, as long as its permissions stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
    /// When it was created, or its permissions were changed: a later file may get the same inode.
    changed: (i64, i64),
}

impl FileId {
    fn of(found: &fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino(), changed: (found.ctime(), found.ctime_nsec()) }
    }
}

/// A folder, whatever paths lead to it and whatever it contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FolderId {
    device: u64,
    inode: u64,
}

impl FolderId {
    fn of(found: &fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// Where a socket is bound: the same place after it was bound again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    File { folder: FolderId, name: OsString },
    Url(String),
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) place: Place,
    pub(crate) file: FileId,
    /// The path without symbolic links.
    pub(crate) path: PathBuf,
}

impl Located {
    /// # Errors
    ///
    /// If it is no socket.
    pub(crate) fn new(file: &fs::Metadata, folder: &fs::Metadata, path: PathBuf) -> io::Result<Self> {
        let Some(name) = path.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
        if !file.file_type().is_socket() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let place = Place::File { folder: FolderId::of(folder), name: name.to_owned() };
        Ok(Self { place, file: FileId::of(file), path })
    }
}

/// Follows a path to a socket.
///
/// # Errors
///
/// If there is no socket.
pub(crate) fn locate(path: &Path) -> io::Result<Located> {
    let real = fs::canonicalize(path)?;
    let parent = real.parent().ok_or(io::ErrorKind::InvalidInput)?;
    Located::new(&fs::metadata(&real)?, &fs::metadata(parent)?, real)
}
