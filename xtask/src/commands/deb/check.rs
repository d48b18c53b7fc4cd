//! Whether the package can be installed where nothing is but what it depends on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use xtask::output::output;

use super::{NAME, files};

/// The files that a user looks for.
const EXPECTED: [&str; 11] = [
    "usr/bin/whalewatcher",
    "usr/lib/systemd/system/whalewatcher-journal.service",
    "usr/lib/systemd/system/whalewatcher-publish.service",
    "usr/lib/systemd/system/whalewatcher.service",
    "usr/lib/systemd/system/whalewatcher.socket",
    "usr/share/bash-completion/completions/whalewatcher",
    "usr/share/doc/whalewatcher/changelog.gz",
    "usr/share/doc/whalewatcher/copyright",
    "usr/share/fish/vendor_completions.d/whalewatcher.fish",
    "usr/share/man/man1/whalewatcher-ps.1.gz",
    "usr/share/zsh/vendor-completions/_whalewatcher",
];

/// Installs the package into a root that has the packages it depends on, from this host, and no other; runs
/// the program there and removes it. dpkg itself checks the dependencies, and the files by their checksums.
pub(super) fn check(package: &Path, version: &str, folder: &Path) -> Result<()> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    make_root(&root, &dependencies(package)?)?;
    let before: BTreeSet<PathBuf> = installed(&root)?;
    output(dpkg(&root).arg("--install").arg(package))?;
    let verified = output(dpkg(&root).args(["--verify", NAME]))?;
    ensure!(verified.is_empty(), "dpkg finds other files than it installed:\n{verified}");
    for file in EXPECTED {
        ensure!(root.join(file).is_file(), "{file} is missing");
    }
    let program = || {
        let mut program = Command::new("chroot");
        program.arg(&root).arg(NAME).env_clear().env("PATH", "/usr/bin:/usr/sbin");
        program
    };
    let printed = output(program().arg("--version"))?;
    ensure!(printed.trim() == format!("{NAME} {version}"), "the program is '{}'", printed.trim());
    let demo = output(program().args(["demo", "-o", "json", "--until", "synced"]))?;
    ensure!(demo.contains("\"event\":\"started\""), "the demo shows no container:\n{demo}");
    output(dpkg(&root).args(["--purge", NAME]))?;
    let after = installed(&root)?;
    let left: Vec<_> = after.symmetric_difference(&before).collect();
    ensure!(left.is_empty(), "after its removal, these files are not as before: {left:?}");
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))
}

/// Returns the names of the packages that a package depends on.
fn dependencies(package: &Path) -> Result<Vec<String>> {
    let field = output(Command::new("dpkg-deb").arg("--field").arg(package).arg("Depends"))?;
    Ok(field.split([',', '|']).filter_map(|one| one.split_whitespace().next().map(str::to_owned)).collect())
}

/// Makes a root with these packages, as they are installed here.
fn make_root(root: &Path, packages: &[String]) -> Result<()> {
    // Links such as that of /lib lead to the first four.
    for folder in [
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "tmp",
        "var/log",
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
    ] {
        fs::create_dir_all(root.join(folder)).with_context(|| format!("cannot make {folder}"))?;
    }
    let list = root.join("var/lib/dpkg/files");
    let files = output(Command::new("dpkg").arg("--listfiles").args(packages))?;
    // Hosts may leave out documentation.
    let files: Vec<_> = files.lines().filter(|file| fs::symlink_metadata(file).is_ok()).collect();
    fs::write(&list, files.join("\n"))?;
    let archive = root.join("var/lib/dpkg/files.tar");
    let mut pack = Command::new("tar");
    pack.args(["--create", "--no-recursion", "--absolute-names", "--file"])
        .arg(&archive)
        .arg("--files-from")
        .arg(&list);
    output(&mut pack)?;
    output(
        Command::new("tar")
            .args(["--extract", "--keep-directory-symlink", "--file"])
            .arg(&archive)
            .arg("-C")
            .arg(root),
    )?;
    fs::remove_file(&list)?;
    fs::remove_file(&archive)?;
    let status = output(Command::new("dpkg").arg("--status").args(packages))?;
    fs::write(root.join("var/lib/dpkg/status"), status).context("cannot write dpkg's status")
}

/// Returns the files outside of dpkg's own folders.
fn installed(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let is_own = |file: &PathBuf| file.starts_with("var/lib/dpkg") || file.starts_with("var/log");
    Ok(files(root)?.into_iter().filter(|file| !is_own(file)).collect())
}

fn dpkg(root: &Path) -> Command {
    let mut dpkg = Command::new("dpkg");
    // It looks for programs that only root has in its path.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    dpkg.env("LC_ALL", "C.UTF-8").env("PATH", path).arg("--root").arg(root);
    dpkg
}
