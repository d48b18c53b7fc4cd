//! Watches the folders that lead to paths, with inotify.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How many symbolic links to follow, as many as the kernel does.
const MAX_LINKS: u32 = 40;

/// What may change where a path leads, or whether it can be connected to.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// What ends the use of a watch, or may hide a change.
const ALWAYS: ReadFlags = ReadFlags::DELETE_SELF
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::IGNORED)
    .union(ReadFlags::UNMOUNT)
    .union(ReadFlags::QUEUE_OVERFLOW);

/// The folders in which the parts of paths are looked up, as far as they exist and can be watched. Symbolic links are
/// followed, so the folders that they lead to are among them.
#[derive(Debug)]
pub struct Folders {
    inotify: AsyncFd<OwnedFd>,
    /// The names that are looked up, each with the watch of its folder.
    names: Vec<(i32, OsString)>,
}

impl Folders {
    /// Watches no folders yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// If a limit of the system is reached.
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify: readable(inotify)?, names: Vec::new() })
    }

    /// Watches the folders that lead to an absolute path, in addition to others.
    ///
    /// # Errors
    ///
    /// As of [`add`](Self::add) and [`new`](Self::new).
    pub(super) fn watch(path: &Path) -> io::Result<Self> {
        let mut folders = Self::new()?;
        folders.add(path)?;
        Ok(folders)
    }

    /// Watches the folders that lead to an absolute path too. A folder that does not exist, or that cannot be
    /// watched, is left out; the one before it is watched for its creation.
    ///
    /// # Errors
    ///
    /// If nothing can be watched, as when a limit of the system is reached.
    pub fn add(&mut self, path: &Path) -> io::Result<()> {
        let mut failed = Err(io::ErrorKind::InvalidInput.into());
        let mut watched = false;
        let (mut folder, mut links) = (PathBuf::from("/"), 0);
        let mut rest = parts(path);
        while let Some(name) = rest.pop() {
            if name == ".." {
                folder.pop();
                continue;
            }
            // Before the lookup, so that no change goes unnoticed in between.
            match inotify::add_watch(self.inotify.get_ref(), &folder, CHANGES | WatchFlags::ONLYDIR) {
                Ok(watch) => {
                    watched = true;
                    let part = (watch, name.clone());
                    if !self.names.contains(&part) {
                        self.names.push(part);
                    }
                }
                Err(error) => failed = Err(error.into()),
            }
            let next = folder.join(&name);
            match fs::read_link(&next) {
                // The kernel follows those of a process by themselves, and their text may be of another root.
                Ok(_) if is_process(&folder) => folder = next,
                Ok(target) if links < MAX_LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        folder = "/".into();
                    }
                    rest.extend(parts(&target));
                }
                _ => folder = next,
            }
        }
        if watched { Ok(()) } else { failed }
    }

    /// Waits for a change after which the path may lead elsewhere.
    ///
    /// # Errors
    ///
    /// If the changes cannot be read.
    pub async fn changed(&self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut changes = Reader::new(self.inotify.get_ref(), &mut buffer);
            loop {
                match changes.next() {
                    Ok(change) if self.concerns(change.wd(), change.events(), change.file_name()) => {
                        return Ok(());
                    }
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(Errno::WOULDBLOCK) => break ready.clear_ready(),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    fn concerns(&self, watch: i32, events: ReadFlags, name: Option<&std::ffi::CStr>) -> bool {
        let name = name.map(|name| OsStr::from_bytes(name.to_bytes()));
        events.intersects(ALWAYS)
            || self.names.iter().any(|(folder, part)| *folder == watch && name == Some(part.as_os_str()))
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe because of types that return another descriptor each time, which OwnedFd does not"
)]
fn readable(inotify: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(inotify, Interest::READABLE)
}

/// Returns whether a folder is one of `/proc/PID`.
fn is_process(folder: &Path) -> bool {
    let below = folder.strip_prefix("/proc").ok().and_then(|path| path.components().next());
    below.is_some_and(|name| name.as_os_str().as_bytes().iter().all(u8::is_ascii_digit))
}

/// Returns the parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}
