//! The mounts below a folder: which there are, and undoing them.

use std::path::Path;

use anyhow::{Context as _, Result};
use procfs::process::{MountInfo, Process};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

/// All mounts of the host as this process sees them, in the order in which they were made.
pub(crate) fn all() -> Result<Vec<MountInfo>> {
    let mounts =
        Process::myself().and_then(|own| own.mountinfo()).context("cannot read the table of mounts")?;
    Ok(mounts.0)
}

/// Undoes every mount below a folder (or on it), the latest first. Busy ones are detached.
pub(crate) fn unmount_below(folder: &Path) -> Result<()> {
    for mount in all()?.iter().rev().filter(|mount| mount.mount_point.starts_with(folder)) {
        let point = &mount.mount_point;
        let done = match unmount(point, UnmountFlags::NOFOLLOW) {
            Err(Errno::BUSY) => unmount(point, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH),
            done => done,
        };
        match done {
            // It went with the mount that it was on.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot unmount {}", point.display())),
        }
    }
    Ok(())
}
