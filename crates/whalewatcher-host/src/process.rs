//! Processes of a host, as `/proc` shows them.
//!
//! Everything that is read has a limit, since processes choose their names and sockets. The crate `procfs`
//! has none, and fails for all sockets of a process if it cannot decode one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Dir, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;

use crate::cgroup::{Membership, ids, memberships, names};
use crate::sockets::{self, ListeningSocket};

/// How many bytes of a file in `/proc` are read: the longest `/proc/PID/cgroup` has a path of 4 KiB in each
/// of twelve hierarchies.
const MAX_FILE: u64 = 1 << 18;

/// How many bytes of the list of unix sockets are read: some ten thousand sockets.
const MAX_SOCKETS: u64 = 1 << 20;

/// How many descriptors of a process are read.
const MAX_DESCRIPTORS: usize = 1 << 14;

/// Where processes are looked up: a mounted `/proc`.
#[derive(Clone, Debug)]
pub struct Proc(PathBuf);

/// One process, and no other that has its PID later: the open folder stays that of the process.
#[derive(Debug)]
pub struct Process {
    folder: OwnedFd,
}

/// When a process was started, in ticks since the system was, and the PID of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// When it was started. With the PID it identifies a process.
    pub started: u64,
    /// The PID of its parent, 0 if that is outside of the PID namespace.
    pub parent: u32,
}

impl Default for Proc {
    fn default() -> Self {
        Self("/proc".into())
    }
}

impl Proc {
    /// Looks processes up in another folder than `/proc`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Returns the folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// Returns the PIDs of all processes that are visible.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let names = fs::read_dir(&self.0)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// Returns the name of the process that has this PID now, which is the first 15 bytes of its program's
    /// unless it chose another.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if there is none;
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if `/proc` is mounted with `hidepid`.
    pub fn name(&self, pid: u32) -> io::Result<String> {
        let mut name = [0; 64];
        let length =
            File::open(self.0.join(pid.to_string()).join("comm"))?.read(&mut name).map_err(gone_io)?;
        Ok(String::from_utf8_lossy(name[..length].trim_ascii_end()).into_owned())
    }

    /// Returns the stream sockets with a path at which any process of this process' own network namespace listens.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn listening_here(&self) -> io::Result<Vec<ListeningSocket>> {
        let mut text = Vec::new();
        File::open(self.0.join("net/unix"))?.take(MAX_SOCKETS).read_to_end(&mut text)?;
        Ok(sockets::listening(&String::from_utf8_lossy(&text)))
    }

    /// Opens the process that asks, if its PIDs are those of this folder: a `/proc` that was mounted in
    /// another PID namespace shows it with another one, or not at all.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if they are not.
    pub fn open_ourselves(&self) -> io::Result<Process> {
        let ourselves = self.open_at("self")?;
        match ourselves.pids()?.len() {
            1 => Ok(ourselves),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Opens the process that has this PID now.
    ///
    /// # Errors
    ///
    /// [`NotFound`](io::ErrorKind::NotFound) if there is none.
    pub fn open(&self, pid: u32) -> io::Result<Process> {
        self.open_at(&pid.to_string())
    }

    fn open_at(&self, name: &str) -> io::Result<Process> {
        let folder =
            openat(CWD, self.0.join(name), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Process { folder: folder.map_err(gone)? })
    }
}

/// All errors are [`NotFound`](io::ErrorKind::NotFound) if the process has ended, and
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied) if it may not be looked at.
impl Process {
    /// Returns its name.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn name(&self) -> io::Result<String> {
        Ok(self.read("comm", MAX_FILE)?.trim_end().to_owned())
    }

    /// Returns when it was started, and by which process.
    ///
    /// # Errors
    ///
    /// If that cannot be read, or the process has ended and only waits for its parent.
    pub fn origin(&self) -> io::Result<Origin> {
        let stat = self.read("stat", MAX_FILE)?;
        // The name, in parentheses, may contain anything.
        let mut fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace();
        if matches!(fields.next(), Some("Z" | "X")) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let parent = fields.next().and_then(|field| field.parse().ok());
        let started = fields.nth(17).and_then(|field| field.parse().ok());
        match (parent, started) {
            (Some(parent), Some(started)) => Ok(Origin { started, parent }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "malformed stat")),
        }
    }

    /// Returns the stream sockets with a path at which any process of its network namespace listens.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn listening_beside(&self) -> io::Result<Vec<ListeningSocket>> {
        Ok(sockets::listening(&self.read("net/unix", MAX_SOCKETS)?))
    }

    /// Returns those of [these sockets](Self::listening_beside) that it has open: at these it listens itself.
    ///
    /// # Errors
    ///
    /// If its descriptors cannot be read.
    pub fn listening_among(&self, beside: &[ListeningSocket]) -> io::Result<Vec<ListeningSocket>> {
        if beside.is_empty() {
            return Ok(Vec::new());
        }
        let open = self.open_sockets()?;
        Ok(beside.iter().filter(|socket| open.contains(&socket.inode)).cloned().collect())
    }

    /// Returns the inodes of the sockets that it has open.
    ///
    /// # Errors
    ///
    /// If its descriptors cannot be read.
    pub fn open_sockets(&self) -> io::Result<BTreeSet<u64>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(self.folder.as_fd(), "fd", flags, Mode::empty()).map_err(gone)?;
        let mut inodes = BTreeSet::new();
        for entry in Dir::read_from(&folder).map_err(gone)?.take(MAX_DESCRIPTORS) {
            let entry = entry.map_err(gone)?;
            if entry.file_name().to_bytes().first() == Some(&b'.') {
                continue;
            }
            // It may be closed meanwhile.
            if let Ok(target) = readlinkat(&folder, entry.file_name(), Vec::new()) {
                inodes.extend(target.to_str().ok().and_then(sockets::inode));
            }
        }
        Ok(inodes)
    }

    /// Opens the folder that it sees as `/`, for looking up paths as it does. The folder stays that one when
    /// the process ends.
    ///
    /// # Errors
    ///
    /// If it may not be entered.
    pub fn root(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(self.folder.as_fd(), "root", flags, Mode::empty()).map_err(gone)
    }

    /// Returns what identifies its namespace of this kind, such as `mnt` or `pid`.
    ///
    /// # Errors
    ///
    /// If it may not be looked at.
    pub fn namespace(&self, kind: &str) -> io::Result<String> {
        let link = readlinkat(self.folder.as_fd(), format!("ns/{kind}"), Vec::new()).map_err(gone)?;
        Ok(link.to_string_lossy().into_owned())
    }

    /// Returns its PIDs: in the PID namespace of `/proc`, and in each one below that it is in, the innermost last.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let status = self.read("status", MAX_FILE)?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        Ok(line.unwrap_or_default().split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }

    /// Returns whether a control group that it is in, or one around that, is named by the ID of a container.
    ///
    /// # Errors
    ///
    /// If its control groups cannot be read.
    pub fn is_in_group_of(&self, id: &str) -> io::Result<bool> {
        let is_named = |group: Membership| names(&group.path).any(|(name, _)| ids(name).any(|it| it == id));
        Ok(!id.is_empty() && self.memberships()?.into_iter().any(is_named))
    }

    /// Returns its control groups.
    pub(crate) fn memberships(&self) -> io::Result<Vec<Membership>> {
        Ok(memberships(&self.read("cgroup", MAX_FILE)?))
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<String> {
        let file = openat(self.folder.as_fd(), name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let mut text = Vec::new();
        File::from(file.map_err(gone)?).take(limit).read_to_end(&mut text).map_err(gone_io)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Returns whether the process of a pidfd has ended. Does not wait.
///
/// # Errors
///
/// If the descriptor cannot be polled.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut polled, Some(&now))? > 0)
}

/// A process that ends while it is looked at is not found either.
fn gone(error: Errno) -> io::Error {
    match error {
        Errno::SRCH => Errno::NOENT.into(),
        error => error.into(),
    }
}

fn gone_io(error: io::Error) -> io::Error {
    Errno::from_io_error(&error).map_or(error, gone)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    /// A made-up process.
    fn process(files: &[(&str, &str)]) -> (tempfile::TempDir, Process) {
        let folder = tempfile::tempdir().unwrap();
        let of_process = folder.path().join("7");
        fs::create_dir_all(of_process.join("net")).unwrap();
        fs::create_dir_all(of_process.join("fd")).unwrap();
        for (name, text) in files {
            fs::write(of_process.join(name), text).unwrap();
        }
        let process = Proc::at(folder.path()).open(7).unwrap();
        (folder, process)
    }

    #[test]
    fn a_name_may_contain_what_looks_like_other_fields() {
        let stat = "7 (a) Z 1) S 42 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 1";
        let (_folder, found) = process(&[("stat", stat)]);
        assert_eq!(found.origin().unwrap(), Origin { started: 4711, parent: 42 });
        for (malformed, kind) in [
            ("", io::ErrorKind::InvalidData),
            ("7 (a) S 1", io::ErrorKind::InvalidData),
            ("7 (a) Z 42 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 1", io::ErrorKind::NotFound),
        ] {
            let (_folder, found) = process(&[("stat", malformed)]);
            assert_eq!(found.origin().unwrap_err().kind(), kind, "{malformed}");
        }
    }

    #[test]
    fn only_sockets_that_the_process_has_open_are_its_own() {
        let sockets = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 11 /run/own.sock
0000000000000000: 00000002 00000000 00010000 0001 01 12 /run/other.sock
";
        let (folder, found) = process(&[("net/unix", sockets)]);
        symlink("socket:[11]", folder.path().join("7/fd/3")).unwrap();
        symlink("/dev/null", folder.path().join("7/fd/0")).unwrap();
        let listening = found.listening_among(&found.listening_beside().unwrap()).unwrap();
        assert_eq!(
            listening.iter().map(|socket| &*socket.path).collect::<Vec<_>>(),
            [Path::new("/run/own.sock")]
        );
    }

    #[test]
    fn pids_come_from_the_outermost_namespace_to_the_innermost() {
        let (_folder, found) = process(&[("status", "Name:\tx\nNSpid:\t4711\t12\t1\nNSpgid:\t1\n")]);
        assert_eq!(found.pids().unwrap(), [4711, 12, 1]);
        let (_folder, found) = process(&[("status", "Name:\tx\n")]);
        assert_eq!(found.pids().unwrap(), [0; 0]);
    }

    #[test]
    fn this_process_is_found_with_its_sockets_its_root_and_its_namespaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let _connected = UnixStream::connect(&path).unwrap();
        let (proc, own) = (Proc::default(), std::process::id());
        assert!(proc.pids().unwrap().contains(&own));
        let process = proc.open(own).unwrap();
        assert_eq!(proc.name(own).unwrap(), process.name().unwrap());
        let sockets = process.listening_among(&process.listening_beside().unwrap()).unwrap();
        assert_eq!(sockets.iter().filter(|socket| socket.path == path).count(), 1);
        assert!(process.namespace("mnt").unwrap().starts_with("mnt:["));
        assert_eq!(process.pids().unwrap().first(), Some(&own));
        process.root().unwrap();
    }
}
