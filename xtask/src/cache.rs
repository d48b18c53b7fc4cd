//! The folder outside the checkout that keeps unpacked engines and tools. All checkouts of a user share it,
//! so changes to it are made under its lock.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The environment variable that moves the cache.
pub const CACHE_VARIABLE: &str = "WHALEWATCHER_CACHE";

/// The cache folder of the current user.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// The lock of a process that changes the cache; released when dropped, also by the death of the process.
#[derive(Debug)]
pub struct CacheLock {
    _file: File,
}

impl Cache {
    /// Opens the cache: `$WHALEWATCHER_CACHE`, else `$XDG_CACHE_HOME/whalewatcher`, else
    /// `~/.cache/whalewatcher`.
    ///
    /// # Errors
    ///
    /// When none of these variables is set, or the folder cannot be made.
    pub fn open() -> Result<Cache> {
        let folder = chosen_folder(|name| env::var_os(name).map(PathBuf::from))?;
        Cache::at(&folder)
    }

    /// Opens a cache in a folder of the caller's choice.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made.
    pub fn at(folder: &Path) -> Result<Cache> {
        fs::create_dir_all(folder).with_context(|| {
            format!("cannot make the cache folder {}: set {CACHE_VARIABLE}", folder.display())
        })?;
        let folder = folder.canonicalize().with_context(|| format!("cannot resolve {}", folder.display()))?;
        Ok(Cache { folder })
    }

    /// Where the cache is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until no other process changes the cache, for as long as it takes, and says so on stderr.
    ///
    /// # Errors
    ///
    /// When the lock file cannot be made or locked.
    pub fn lock(&self) -> Result<CacheLock> {
        let path = self.folder.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open the lock file {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another process that fills {}", self.folder.display());
                file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        Ok(CacheLock { _file: file })
    }

    /// An empty folder for half-done work. What an interrupted run left in it is removed, hence the lock.
    ///
    /// # Errors
    ///
    /// When it cannot be emptied or made.
    pub fn incoming(&self, _lock: &CacheLock) -> Result<PathBuf> {
        let folder = self.folder.join("incoming");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }
}

fn chosen_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let set = |name: &str| variable(name).filter(|path| path.is_absolute());
    if let Some(folder) = set(CACHE_VARIABLE) {
        return Ok(folder);
    }
    if let Some(caches) = set("XDG_CACHE_HOME") {
        return Ok(caches.join("whalewatcher"));
    }
    if let Some(home) = set("HOME") {
        return Ok(home.join(".cache/whalewatcher"));
    }
    bail!("no folder for the cache: set {CACHE_VARIABLE} to an absolute path")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, PathBuf::from(value))).collect();
        chosen_folder(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, path)| path.clone()))
            .ok()
    }

    #[test]
    fn the_own_variable_comes_before_the_systems_cache_folder() {
        let all = [("WHALEWATCHER_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(chosen(&all), Some(PathBuf::from("/a")));
        assert_eq!(chosen(&all[1..]), Some(PathBuf::from("/b/whalewatcher")));
        assert_eq!(chosen(&all[2..]), Some(PathBuf::from("/c/.cache/whalewatcher")));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn what_an_interrupted_run_left_is_not_there_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let lock = cache.lock().unwrap();
        fs::write(cache.incoming(&lock).unwrap().join("half"), "done").unwrap();
        assert_eq!(fs::read_dir(cache.incoming(&lock).unwrap()).unwrap().count(), 0);
    }
}
