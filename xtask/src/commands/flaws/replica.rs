//! A copy of this checkout to bring flaws into.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use xtask::interrupt;

use crate::commands::cargo::workspace;

/// The copy. What is equal already is left alone, so that it is not built again.
#[derive(Debug)]
pub(super) struct Replica {
    folder: PathBuf,
}

impl Replica {
    /// Makes it in a folder, or makes the one there equal to this checkout again.
    pub(super) fn fresh(folder: &Path) -> Result<Replica> {
        let replica = Replica { folder: folder.to_owned() };
        let tree = replica.tree();
        fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
        let files = files_in_git()?;
        for path in files_below(&tree)?.difference(&files) {
            fs::remove_file(tree.join(path)).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        for path in &files {
            let (from, to) = (workspace().join(path), tree.join(path));
            let content = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
            if fs::read(&to).is_ok_and(|present| present == content) {
                continue;
            }
            let parent = to.parent().context("a file is in a folder")?;
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            fs::write(&to, content).with_context(|| format!("cannot write {}", to.display()))?;
        }
        Ok(replica)
    }

    /// For what is told about the copy.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files.
    pub(super) fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    /// Brings a flaw in.
    pub(super) fn patch(&self, patch: &Path) -> Result<()> {
        apply(&self.tree(), patch, &[])
    }

    /// Takes it out again.
    pub(super) fn unpatch(&self, patch: &Path) -> Result<()> {
        apply(&self.tree(), patch, &["--reverse"])
    }
}

/// Applies a patch to the files in a folder.
pub(super) fn apply(tree: &Path, patch: &Path, options: &[&str]) -> Result<()> {
    let status = interrupt::run(git(tree)?.arg("apply").args(options).arg(patch))?;
    ensure!(status.success(), "{} does not apply ({status})", patch.display());
    Ok(())
}

/// git in that folder, as if it were not within any checkout but its own: there, `git apply` would pass over whatever is
/// outside of the current folder.
fn git(folder: &Path) -> Result<Command> {
    let folder = folder.canonicalize().with_context(|| format!("cannot resolve {}", folder.display()))?;
    let mut git = Command::new("git");
    git.current_dir(&folder).env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(&folder));
    for (name, _) in env::vars_os() {
        if ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"].iter().any(|own| name == *own) {
            git.env_remove(&name);
        }
    }
    Ok(git)
}

/// What git keeps, and what it would keep if it were told to, as it is at the moment.
fn files_in_git() -> Result<BTreeSet<PathBuf>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = git(workspace())?.args(arguments).output().context("cannot start git")?;
    ensure!(listed.status.success(), "git cannot list its files ({})", listed.status);
    let listed = String::from_utf8(listed.stdout).context("a file's name is no text")?;
    let paths = listed.split_terminator('\0').map(PathBuf::from);
    Ok(paths.filter(|path| workspace().join(path).is_file()).collect())
}

/// All files below a folder, as paths from there.
fn files_below(top: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(below) = path.strip_prefix(top) {
                files.insert(below.to_owned());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str =
        "Shortcoming: no tea\n\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-tea\n+water\n";

    #[test]
    fn a_patch_goes_in_and_out_below_another_checkout_too_and_once_only() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let Ok(begun) = git(outer.path()).unwrap().args(["init", "--quiet"]).status() else {
            eprintln!("no git here: nothing is tested");
            return;
        };
        assert!(begun.success());
        let (file, patch) = (inner.join("x"), outer.path().join("x.patch"));
        fs::write(&file, "tea\n").unwrap();
        fs::write(&patch, PATCH).unwrap();
        apply(&inner, &patch, &[]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "water\n");
        let again = apply(&inner, &patch, &[]).unwrap_err();
        assert!(again.to_string().contains("x.patch does not apply"), "{again}");
        apply(&inner, &patch, &["--reverse"]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "tea\n");
    }

    #[test]
    fn the_files_are_found_and_what_is_built_is_not_among_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        for path in ["x", "a/y", "a/b/z"] {
            fs::write(folder.path().join(path), "").unwrap();
        }
        let found: Vec<_> = files_below(folder.path()).unwrap().into_iter().collect();
        assert_eq!(found, ["a/b/z", "a/y", "x"].map(PathBuf::from));
        let Ok(files) = files_in_git() else { return };
        assert!(files.contains(Path::new("Cargo.toml")));
        assert!(!files.iter().any(|path| path.starts_with("target")));
    }
}
