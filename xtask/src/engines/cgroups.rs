//! The cgroup that holds all containers of one private instance, in every hierarchy of the host.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::mounts;
use super::processes::pause;

/// Where this cgroup exists.
pub(crate) fn folders_of(name: &str) -> Result<Vec<PathBuf>> {
    let hierarchies =
        mounts::all()?.into_iter().filter(|mount| matches!(mount.fs_type.as_str(), "cgroup" | "cgroup2"));
    Ok(hierarchies.map(|mount| mount.mount_point.join(name)).filter(|folder| folder.is_dir()).collect())
}

/// Thaws whatever is frozen: with cgroup v1 even SIGKILL ends a frozen process only once it is thawed.
pub(crate) fn thaw(name: &str) -> Result<()> {
    for folder in folders_of(name)? {
        for cgroup in with_descendants(&folder)? {
            for (file, thawed) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
                let file = cgroup.join(file);
                if file.exists() {
                    fs::write(&file, thawed).with_context(|| format!("cannot write {}", file.display()))?;
                }
            }
        }
    }
    Ok(())
}

/// Removes it with everything below. Its processes must have been ended.
pub(crate) fn remove(name: &str, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    // The kernel does not announce when it has removed the last ended process from a cgroup.
    while let Err(error) = try_remove(name) {
        if Instant::now() > deadline {
            return Err(error);
        }
        pause(Duration::from_millis(20))?;
    }
    Ok(())
}

fn try_remove(name: &str) -> Result<()> {
    for folder in folders_of(name)? {
        for cgroup in with_descendants(&folder)?.iter().rev() {
            match fs::remove_dir(cgroup) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot remove cgroup {}", cgroup.display()));
                }
            }
        }
    }
    Ok(())
}

/// Parents before their children.
fn with_descendants(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        next += 1;
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
        };
        let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        found.extend(below.map(|entry| entry.path()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_children() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir_all(top.path().join("a/b/c")).unwrap();
        fs::create_dir_all(top.path().join("d")).unwrap();
        fs::write(top.path().join("a/tasks"), "").unwrap();
        let found = with_descendants(top.path()).unwrap();
        assert_eq!(found.len(), 5);
        let place = |name: &str| found.iter().position(|path| path.ends_with(name)).unwrap();
        assert!(place("a") < place("a/b") && place("a/b") < place("a/b/c"));
    }

    #[test]
    fn a_cgroup_that_does_not_exist_is_not_found() {
        assert_eq!(folders_of("whalewatcher-absent").unwrap(), Vec::<PathBuf>::new());
        remove("whalewatcher-absent", Duration::ZERO).unwrap();
    }
}
