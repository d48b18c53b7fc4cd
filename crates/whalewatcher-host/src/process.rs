//! A process, as `/proc` shows it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::cgroup::{Membership, memberships};

/// How many bytes of a file in `/proc` are read: the longest `/proc/PID/cgroup` has a path of 4 KiB in each of twelve hierarchies.
const MAX_FILE: u64 = 1 << 18;

/// Where processes are looked up.
#[derive(Clone, Debug)]
pub(crate) struct Proc(PathBuf);

/// One process, and no other that has its PID later: the open folder stays that of the process.
#[derive(Debug)]
pub(crate) struct Process {
    folder: OwnedFd,
}

impl Default for Proc {
    fn default() -> Self {
        Self("/proc".into())
    }
}

impl Proc {
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self(root.into())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// Opens the process that has this PID now.
    pub(crate) fn open(&self, pid: u32) -> io::Result<Process> {
        let folder = openat(
            CWD,
            self.0.join(pid.to_string()),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        Ok(Process { folder: folder.map_err(gone)? })
    }
}

impl Process {
    /// Its control groups.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if it has ended.
    pub(crate) fn memberships(&self) -> io::Result<Vec<Membership>> {
        let file = openat(self.folder.as_fd(), "cgroup", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let mut text = Vec::new();
        match File::from(file.map_err(gone)?).take(MAX_FILE).read_to_end(&mut text) {
            Ok(_) => Ok(memberships(&String::from_utf8_lossy(&text))),
            Err(error) => Err(Errno::from_io_error(&error).map_or(error, gone)),
        }
    }
}

/// A process that ends while it is looked at is not found either.
fn gone(error: Errno) -> io::Error {
    match error {
        Errno::SRCH => Errno::NOENT.into(),
        error => error.into(),
    }
}
