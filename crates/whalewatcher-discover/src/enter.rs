//! Looks up the sockets of a process in the root of that process.
//!
//! The process may be in a container, and hostile: its links must not lead out of its root, its path may lead
//! to another file in the file system of this process, and its file systems may never answer. So paths are
//! resolved by the kernel within the root, from an open folder that stays the same when the PID belongs to
//! another process, and this runs in a thread that may block.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FsWord, Mode, OFlags, ResolveFlags, fstatfs, openat2};
use whalewatcher_host::process::{Proc, Process};

use crate::candidate::{Candidate, Source};
use crate::finding::FindingKind;
use crate::host_pids::HostPids;
use crate::processes::{Entered, ToEnter};
use crate::socket::{Located, Socket, locate};

/// The type of file systems that a process of their own implements, from the kernel's `magic.h`: it may not answer.
const FUSE_SUPER_MAGIC: FsWord = 0x6573_5546;

/// How many ancestors of a process are looked at.
const MAX_ANCESTORS: usize = 64;

/// Looks a socket up in the root of its process.
pub(crate) fn enter(proc: &Proc, own_root: &Path, socket: &ToEnter) -> Entered {
    match try_enter(proc, own_root, socket) {
        Ok(entered) => entered,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Entered::Refused(FindingKind::NoEntry, "its root may not be entered".to_owned())
        }
        // Removed, or behind another one that is mounted over it.
        Err(_) => Entered::Nothing,
    }
}

fn try_enter(proc: &Proc, own_root: &Path, socket: &ToEnter) -> io::Result<Entered> {
    let ToEnter { pid, process, path, .. } = socket;
    let below = path.strip_prefix("/").unwrap_or(path);
    let found = match locate(&own_root.join(below)) {
        // Most engines see the same files as this process.
        Ok(own) if is_same(process, path, &own) => {
            let path = own_root.join(below);
            Socket::at(&path).map(|socket| Candidate::own(socket, own, Source::Process))
        }
        _ => match within(process, path)? {
            Within::Found(folder, found) => {
                let (first, container) = first_with_same_files(proc, *pid, process);
                let known_as = proc.root().join(first.to_string()).join("root").join(below);
                let name = path.file_name().and_then(|name| name.to_str());
                let socket = name.and_then(|name| Socket::within(folder, name, &known_as));
                socket.map(|socket| Candidate {
                    file: Some(found.file),
                    container,
                    ..Candidate::new(socket, found.place, Source::Process)
                })
            }
            Within::Untrusted => {
                let reason = "it is in a file system of a process, which may not answer".to_owned();
                return Ok(Entered::Refused(FindingKind::NoEngine, reason));
            }
        },
    };
    let Some(candidate) = found else { return Ok(Entered::Nothing) };
    if let Some(pids) = HostPids::of(proc, process) {
        candidate.socket.location().set_pids(pids);
    }
    Ok(Entered::Found(Box::new(Candidate { pid: Some(*pid), ..candidate })))
}

/// A socket in the root of a process.
enum Within {
    /// The folder that it is in.
    Found(OwnedFd, Located),
    /// A process may keep it from being looked at.
    Untrusted,
}

/// Returns whether the path leads the process to the same socket. If its root may not be entered, it is taken
/// to do so: what answers there decides.
fn is_same(process: &Process, path: &Path, own: &Located) -> bool {
    match within(process, path) {
        Ok(Within::Found(_, found)) => found.file == own.file,
        Ok(Within::Untrusted) => false,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Follows a path in the root of a process.
fn within(process: &Process, path: &Path) -> io::Result<Within> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = open_within(&process.root()?, parent, OFlags::PATH | OFlags::DIRECTORY)?;
    if fstatfs(&folder)?.f_type == FUSE_SUPER_MAGIC {
        return Ok(Within::Untrusted);
    }
    let file = File::from(open_within(&folder, Path::new(name), OFlags::PATH | OFlags::NOFOLLOW)?);
    let folder = File::from(folder);
    let found = Located::new(&file.metadata()?, &folder.metadata()?, path.to_owned())?;
    Ok(Within::Found(folder.into(), found))
}

/// Opens a path as a process with this root does.
fn open_within(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root.as_fd(), path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

/// Returns the PID of the first ancestor that has the same mounts, and that process: the initial one, in a container.
fn first_with_same_files(proc: &Proc, pid: u32, process: &Arc<Process>) -> (u32, Option<Arc<Process>>) {
    let mut first = (pid, process.clone());
    let Ok(mounts) = process.namespace("mnt") else { return (pid, None) };
    for _ in 0..MAX_ANCESTORS {
        let parent = first.1.origin().map_or(0, |origin| origin.parent);
        match proc.open(parent) {
            Ok(next) if parent != 0 && next.namespace("mnt").is_ok_and(|other| other == mounts) => {
                first = (parent, Arc::new(next));
            }
            _ => break,
        }
    }
    (first.0, Some(first.1))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    /// A process with this PID appears, with a root of its own in which it listens.
    fn process(host: &Path, pid: u32, root: &str) -> UnixListener {
        let (folder, root) = (host.join(format!("proc/{pid}")), host.join(root));
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir_all(root.join("run")).unwrap();
        symlink(&root, folder.join("root")).unwrap();
        let listener = UnixListener::bind(root.join("run/docker.sock")).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    }

    #[test]
    fn a_socket_stays_that_of_its_process_when_the_pid_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let (host, proc) = (folder.path(), Proc::at(folder.path().join("proc")));
        let listener = process(host, 7, "former");
        let former = Arc::new(proc.open(7).unwrap());
        let socket = ToEnter { pid: 7, inode: 1, process: former, path: "/run/docker.sock".into() };
        let own_root = host.join("own");
        let Entered::Found(found) = enter(&proc, &own_root, &socket) else { panic!("it is not found") };

        fs::remove_dir_all(host.join("proc/7")).unwrap();
        let later = process(host, 7, "later");
        assert!(matches!(enter(&proc, &own_root, &socket), Entered::Nothing), "between look and lookup");
        // Between lookup and connecting, and at each reconnect.
        let _connection = UnixStream::connect(found.socket.path().unwrap()).unwrap();
        assert!(listener.accept().is_ok() && later.accept().is_err());
    }
}
