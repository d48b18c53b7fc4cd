//! A host of the scenarios' own, to which discovery looks in place of the real one: only some processes are
//! shown, by a folder with links in place of `/proc`, and none of the usual sockets unless a scenario links
//! them. So sockets are also reached through the roots of processes.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use whalewatcher_discover::Options;
use whalewatcher_host::process::Proc;

/// The PID of the service manager: no process has it.
const MANAGER: &str = "99999999";

pub(crate) struct MadeUpHost {
    folder: TempDir,
}

impl MadeUpHost {
    pub(crate) fn new() -> Result<MadeUpHost> {
        let host = MadeUpHost { folder: tempfile::tempdir()? };
        for folder in ["proc", "root"] {
            fs::create_dir(host.folder.path().join(folder))?;
        }
        symlink("/proc/net", host.folder.path().join("proc/net"))?;
        Ok(host)
    }

    /// Returns options of a discovery that looks at nothing else.
    pub(crate) fn options(&self) -> Options {
        let within = |name: &str| self.folder.path().join(name);
        Options::default()
            .with_proc(within("proc"))
            .with_root(within("root"))
            .with_home(self.folder.path())
            .with_endpoints([""; 0])
    }

    /// Has a usual place lead to this socket.
    pub(crate) fn link(&self, place: &str, socket: &Path) -> Result<()> {
        let place = self.folder.path().join("root").join(place);
        fs::create_dir_all(place.parent().context("a usual place is in a folder")?)?;
        Ok(symlink(socket, place)?)
    }

    /// Has a service manager listen at this socket, too.
    pub(crate) fn manage(&self, socket: &UnixListener) -> Result<()> {
        let process = self.folder.path().join("proc").join(MANAGER);
        fs::create_dir_all(process.join("fd"))?;
        let inode = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd()))?;
        symlink(inode, process.join("fd/3"))?;
        Ok(fs::write(process.join("comm"), "systemd\n")?)
    }

    /// Shows exactly these processes, and this one with its ancestors: the first with the same files names
    /// what is found.
    pub(crate) fn show(&self, pids: impl IntoIterator<Item = u32>) -> Result<()> {
        let mut shown: BTreeSet<u32> = pids.into_iter().collect();
        let mut ancestor = std::process::id();
        while ancestor != 0 {
            shown.insert(ancestor);
            ancestor = Proc::at("/proc").open(ancestor)?.origin()?.parent;
        }
        let folder = self.folder.path().join("proc");
        for known in fs::read_dir(&folder)? {
            let known = known?;
            let pid = known.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            if pid.is_some_and(|pid| !shown.remove(&pid)) && known.file_type()?.is_symlink() {
                fs::remove_file(known.path())?;
            }
        }
        for pid in shown {
            symlink(format!("/proc/{pid}"), folder.join(pid.to_string()))?;
        }
        Ok(())
    }
}
