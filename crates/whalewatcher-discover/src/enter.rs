//! Looks up the sockets of a process in the root of that process.
//!
//! The process may be in a container, and hostile: its links must not lead out of its root, its path may lead to another file in the
//! file system of this process, and its file systems may never answer. So paths are resolved by the kernel within the root, from an
//! open folder that stays the same when the PID belongs to another process, and this runs in a thread that may block.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FsWord, Mode, OFlags, ResolveFlags, fstatfs, openat2};
use whalewatcher_host::process::{Proc, Process};

use crate::candidate::{Candidate, Source};
use crate::finding::FindingKind;
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
    // Most engines see the same files as this process.
    let own = own_root.join(path.strip_prefix("/").unwrap_or(path));
    let located = locate(&own);
    let root = match process.root() {
        Ok(root) => root,
        // The path alone shows nothing of the process, but what answers there decides.
        Err(_) if located.is_ok() => return Ok(plain(&own)),
        Err(error) => return Err(error),
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Entered::Nothing);
    };
    let folder = open_within(&root, parent, OFlags::PATH | OFlags::DIRECTORY)?;
    if fstatfs(&folder)?.f_type == FUSE_SUPER_MAGIC {
        let reason = "it is in a file system of a process, which may not answer".to_owned();
        return Ok(Entered::Refused(FindingKind::NoEngine, reason));
    }
    let file = File::from(open_within(&folder, Path::new(name), OFlags::PATH | OFlags::NOFOLLOW)?);
    let folder = File::from(folder);
    let found = Located::new(&file.metadata()?, &folder.metadata()?, path.clone())?;
    if located.is_ok_and(|located| located.file == found.file) {
        return Ok(plain(&own));
    }
    let (first, container) = first_with_same_files(proc, *pid, process);
    let known_as =
        proc.root().join(first.to_string()).join("root").join(path.strip_prefix("/").unwrap_or(path));
    let Some(socket) = Socket::within(folder.into(), name, &known_as) else { return Ok(Entered::Nothing) };
    let mut candidate = Candidate::new(socket, found.place, Some(found.file), Source::Process);
    candidate.container = container;
    Ok(Entered::Found(Box::new(candidate)))
}

/// A socket that is at the same path for this process.
fn plain(path: &Path) -> Entered {
    let found = locate(path).ok().and_then(|located| {
        let socket = Socket::at(path)?;
        Some(Candidate::new(socket, located.place, Some(located.file), Source::Process))
    });
    found.map_or(Entered::Nothing, |candidate| Entered::Found(Box::new(candidate)))
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
