//! The folder, cgroup and marker of one private instance, and clearing all of it away: when it is dropped,
//! when this process is terminated, or, if this process was killed, by the next run that finds the marker.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::processes::Ownership;
use super::{cgroups, mounts};

/// The longest path that an instance's folder may have: a unix socket's path is limited to 107 bytes, and the
/// engines add up to 40 of their own.
const LONGEST_FOLDER: usize = 67;

/// How long killed processes may take to be gone, and the kernel to let go of their cgroups.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(120);

/// How the files of markers end.
pub(crate) const EXTENSION: &str = "instance";

/// What this process has to clear away before it ends.
#[derive(Debug)]
struct Live {
    ending: bool,
    markers: Vec<PathBuf>,
}

static LIVE: Mutex<Live> = Mutex::new(Live { ending: false, markers: Vec::new() });

/// One private instance on disk. It is written to a file beside the instance's folder, before there is a
/// folder. The process that started it holds a lock on that file, which the kernel releases if the process
/// dies, unless the instance is detached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Marker {
    engine: String,
    folder: PathBuf,
    cgroup: String,
    detached: bool,
}

/// A private instance of this process; dropping it clears it away, unless it was detached.
#[derive(Debug)]
pub(crate) struct Instance {
    marker: Marker,
    marker_path: PathBuf,
    lock: Option<File>,
    kept: bool,
}

impl Marker {
    /// The engine's name.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// The instance's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it is meant to outlive the process that started it.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.detached
    }

    /// What of the instance is still there: empty once it has been cleared away.
    ///
    /// # Errors
    ///
    /// When processes, mounts or cgroups cannot be looked at.
    pub fn remains(&self) -> Result<Vec<String>> {
        let processes = self.ownership().processes()?.into_iter().map(|pid| format!("process {pid}"));
        let mounts = mounts::all()?.into_iter().filter(|mount| mount.mount_point.starts_with(&self.folder));
        let mounts = mounts.map(|mount| format!("mount {}", mount.mount_point.display()));
        let cgroups = cgroups::folders_of(&self.cgroup)?.into_iter();
        let folders = cgroups.chain(self.folder.exists().then(|| self.folder.clone()));
        let folders = folders.map(|folder| format!("folder {}", folder.display()));
        let sockets = self.shim_sockets().into_iter().filter(|socket| socket.exists());
        let sockets = sockets.map(|socket| format!("socket {}", socket.display()));
        Ok(processes.chain(mounts).chain(folders).chain(sockets).collect())
    }

    pub(crate) fn ownership(&self) -> Ownership {
        Ownership { folder: self.folder.clone(), cgroup: self.cgroup.clone() }
    }

    pub(crate) fn read(path: &Path) -> Result<Marker> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is no marker of an instance", path.display()))
    }

    /// Writes it as a file that is locked for as long as it is open.
    fn write(&self, path: &Path) -> Result<File> {
        let draft = path.with_extension("draft");
        let text = serde_json::to_vec_pretty(self).context("cannot write a marker as JSON")?;
        let write = || {
            let mut file = File::create(&draft)?;
            file.lock()?;
            file.write_all(&text)?;
            fs::rename(&draft, path)?;
            std::io::Result::Ok(file)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Ends every process of the instance and removes its mounts, cgroups and folders, its marker last: if this is
    /// interrupted or fails, the next run tries again.
    pub(crate) fn clear(&self, marker_path: &Path) -> Result<()> {
        let mut shim_sockets = self.shim_sockets();
        self.ownership().kill_all(END_LIMIT)?;
        shim_sockets.extend(self.shim_sockets());
        mounts::unmount_below(&self.folder)?;
        cgroups::remove(&self.cgroup, END_LIMIT)?;
        for socket in shim_sockets {
            remove_file(&socket)?;
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", self.folder.display()));
            }
            _ => {}
        }
        remove_file(marker_path)
    }

    /// containerd's shims listen on sockets outside of the instance's folder, and remove them only when they end
    /// by themselves. Each container's folder names its shim's.
    fn shim_sockets(&self) -> BTreeSet<PathBuf> {
        let tasks = self.folder.join("containerd/state/io.containerd.runtime.v2.task");
        let mut sockets = BTreeSet::new();
        for namespace in fs::read_dir(tasks).into_iter().flatten().flatten() {
            for container in fs::read_dir(namespace.path()).into_iter().flatten().flatten() {
                for file in ["address", "bootstrap.json"] {
                    let text = fs::read_to_string(container.path().join(file)).unwrap_or_default();
                    sockets.extend(socket_in(&text));
                }
            }
        }
        sockets
    }
}

/// The path after `unix://`, in a file that holds nothing else or in JSON.
fn socket_in(text: &str) -> Option<PathBuf> {
    let (_, path) = text.split_once("unix://")?;
    let path = Path::new(path.split(['"', '\n']).next()?);
    path.is_absolute().then(|| path.to_owned())
}

impl Instance {
    /// Makes folder and marker of a new instance, after clearing what dead runs left.
    pub(crate) fn create(engine: Engine, parent: Option<&Path>) -> Result<Instance> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "a private {engine} can be started by root only: run as root, or point DOCKER_HOST at a running engine"
        );
        super::leftovers::clear()?;
        let base = base_folder()?;
        let parent = match parent {
            Some(parent) => {
                parent.canonicalize().with_context(|| format!("no folder {}", parent.display()))?
            }
            None => base.clone(),
        };
        let mut live = live();
        ensure!(!live.ending, "this process is ending");
        let (kind, release) = (engine.kind.name(), engine.release.name());
        for number in 1..10_000 {
            let name = format!("{kind}-{release}-{}-{number}", std::process::id());
            let marker_path = base.join(&name).with_extension(EXTENSION);
            let folder = parent.join(&name);
            if marker_path.exists() || folder.exists() {
                continue;
            }
            if folder.as_os_str().len() > LONGEST_FOLDER {
                bail!("{} is too long for unix sockets below it: choose a shorter folder", folder.display());
            }
            let marker = Marker {
                engine: engine.to_string(),
                folder: folder.clone(),
                cgroup: format!("whalewatcher-{name}"),
                detached: false,
            };
            let lock = Some(marker.write(&marker_path)?);
            live.markers.push(marker_path.clone());
            let instance = Instance { marker, marker_path, lock, kept: false };
            drop(live);
            let made = DirBuilder::new().mode(0o700).create(&folder);
            made.with_context(|| format!("cannot make {}", folder.display()))?;
            return Ok(instance);
        }
        bail!("{} is full of instances: run `cargo xtask engines down --all`", base.display())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.marker.folder
    }

    pub(crate) fn marker(&self) -> &Marker {
        &self.marker
    }

    pub(crate) fn cgroup(&self) -> &str {
        &self.marker.cgroup
    }

    /// Lets it outlive this process; `engines down` ends it.
    pub(crate) fn detach(&mut self) -> Result<()> {
        self.marker.detached = true;
        drop(self.marker.write(&self.marker_path)?);
        (self.kept, self.lock) = (true, None);
        live().markers.retain(|path| *path != self.marker_path);
        Ok(())
    }

    /// Clears it away now. Another time does nothing.
    pub(crate) fn clear(&mut self) -> Result<()> {
        if self.kept {
            return Ok(());
        }
        self.marker.clear(&self.marker_path)?;
        self.kept = true;
        live().markers.retain(|path| *path != self.marker_path);
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            eprintln!("cannot clear {}: {error:#}", self.marker.folder.display());
        }
    }
}

/// Runs something that starts a process, unless this process is being ended.
pub(crate) fn unless_ending<T>(start: impl FnOnce() -> Result<T>) -> Result<T> {
    let live = live();
    ensure!(!live.ending, "this process is ending");
    start()
}

/// Clears every instance of this process and lets it start no more: for the time just before it ends.
pub(crate) fn clear_all_of_this_process() {
    let markers = {
        let mut live = live();
        live.ending = true;
        std::mem::take(&mut live.markers)
    };
    for path in markers {
        if let Err(error) = Marker::read(&path).and_then(|marker| marker.clear(&path)) {
            eprintln!("cannot clear what {} names: {error:#}", path.display());
        }
    }
}

fn live() -> MutexGuard<'static, Live> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where instances and their markers are: short, private to the user.
pub(crate) fn base_folder() -> Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let temporary = std::env::temp_dir();
    let short = temporary.is_absolute() && temporary.as_os_str().len() <= 16;
    let base = if short { temporary } else { PathBuf::from("/run") }.join(format!("whalewatcher-{user}"));
    match DirBuilder::new().mode(0o700).create(&base) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make {}", base.display()));
        }
        _ => {}
    }
    let metadata =
        fs::symlink_metadata(&base).with_context(|| format!("cannot look at {}", base.display()))?;
    ensure!(metadata.is_dir() && metadata.uid() == user, "{} belongs to another user", base.display());
    Ok(base)
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shims_socket_is_found_in_both_formats() {
        let socket = Some(PathBuf::from("/run/containerd/s/abc"));
        assert_eq!(socket_in("unix:///run/containerd/s/abc"), socket);
        assert_eq!(
            socket_in(r#"{"version":3,"address":"unix:///run/containerd/s/abc","protocol":"ttrpc"}"#),
            socket
        );
        assert_eq!(socket_in("vsock://1"), None);
    }

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let marker = Marker {
            engine: "docker@sid".to_owned(),
            folder: folder.path().join("instance"),
            cgroup: "whalewatcher-test-of-markers".to_owned(),
            detached: true,
        };
        let path = folder.path().join("instance.marker");
        drop(marker.write(&path).unwrap());
        let read = Marker::read(&path).unwrap();
        assert_eq!((read.engine(), read.is_detached()), ("docker@sid", true));
    }

    #[test]
    fn clearing_removes_the_folder_and_then_the_marker() {
        let folder = tempfile::tempdir().unwrap();
        let marker = Marker {
            engine: "docker@sid".to_owned(),
            folder: folder.path().join("instance"),
            cgroup: "whalewatcher-test-of-clearing".to_owned(),
            detached: false,
        };
        let path = folder.path().join("instance.marker");
        drop(marker.write(&path).unwrap());
        fs::create_dir_all(marker.folder().join("data/deep")).unwrap();
        marker.clear(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        marker.clear(&path).unwrap();
    }
}
