//! Instances whose owner is dead without having cleared them away, and detached ones: finding and ending them,
//! and never touching an instance of a run that is alive.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::instance::{EXTENSION, Marker, base_folder};

/// Clears what dead runs left, but nothing that was detached. Returns how many instances that were.
///
/// # Errors
///
/// When one of them cannot be cleared away.
pub fn clear() -> Result<usize> {
    clear_where(&base_folder()?, |marker| {
        // A detached instance does not survive a reboot, only its folder does.
        !marker.is_detached() || marker.ownership().processes().is_ok_and(|found| found.is_empty())
    })
}

/// Clears detached instances, all or those of one engine, and what dead runs left.
///
/// # Errors
///
/// When one of them cannot be cleared away.
pub fn clear_detached(engine: Option<&str>) -> Result<usize> {
    clear_where(&base_folder()?, |marker| {
        !marker.is_detached() || engine.is_none_or(|engine| engine == marker.engine())
    })
}

/// The detached instances.
///
/// # Errors
///
/// When the folder of markers cannot be read.
pub fn detached() -> Result<Vec<Marker>> {
    let markers = markers_in(&base_folder()?)?;
    Ok(markers.into_iter().map(|(_, marker)| marker).filter(Marker::is_detached).collect())
}

/// Clears those of no live owner that are wanted.
fn clear_where(base: &Path, wanted: impl Fn(&Marker) -> bool) -> Result<usize> {
    let path = base.join("clearing.lock");
    let lock = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    let mut count = 0;
    for (path, marker) in markers_in(base)? {
        if !is_held(&path)? && wanted(&marker) {
            marker.clear(&path).with_context(|| format!("cannot clear {}", marker.folder().display()))?;
            count += 1;
        }
    }
    Ok(count)
}

/// Whether a live process holds the lock on a marker; if the marker is gone, its owner has just cleared it away.
fn is_held(path: &Path) -> Result<bool> {
    match File::open(path).map(|file| file.try_lock()) {
        Ok(Ok(())) => Ok(false),
        Ok(Err(TryLockError::WouldBlock)) => Ok(true),
        Ok(Err(TryLockError::Error(error))) => Err(error),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
    .with_context(|| format!("cannot look at the lock on {}", path.display()))
}

fn markers_in(base: &Path) -> Result<Vec<(PathBuf, Marker)>> {
    let mut markers = Vec::new();
    for entry in fs::read_dir(base).with_context(|| format!("cannot read {}", base.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", base.display()))?.path();
        if path.extension() == Some(OsStr::new(EXTENSION)) {
            // Its owner may be clearing it away right now.
            match Marker::read(&path) {
                Err(_) if !path.exists() => {}
                marker => markers.push((path, marker?)),
            }
        }
    }
    Ok(markers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_owner_left_is_cleared() {
        let base = tempfile::tempdir().unwrap();
        let marker = |name: &str, detached: bool| {
            let folder = base.path().join(name);
            fs::create_dir(&folder).unwrap();
            let cgroup = format!("whalewatcher-test-{name}");
            let marker = serde_json::json!({
                "engine": "docker@sid", "folder": folder, "cgroup": cgroup, "detached": detached
            });
            let path = base.path().join(name).with_extension(EXTENSION);
            fs::write(&path, marker.to_string()).unwrap();
            File::open(path).unwrap()
        };
        let alive = marker("alive", false);
        alive.lock().unwrap();
        drop(marker("dead", false));
        drop(marker("detached", true));
        let clear = || clear_where(base.path(), |marker| !marker.is_detached()).unwrap();
        assert_eq!(clear(), 1);
        let there = |name: &str| base.path().join(name).exists();
        assert_eq!(["alive", "dead", "detached"].map(there), [true, false, true]);
        drop(alive);
        assert_eq!(clear(), 1);
    }
}
