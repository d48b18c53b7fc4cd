//! Debian packages, unpacked into the cache beside whatever the host has installed. apt gets a sources file and a
//! lists folder of its own, so that the host's configuration neither changes nor matters, but for the mirror.
//! Signatures are always checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use super::engine::{Engine, Release};
use super::mirrors::{HOST_KEYRING, Mirror};
use crate::cache::Cache;
use crate::output::output;

/// Debian's keyring as a package: how an older host comes to trust a newer release.
pub(super) const KEYRING_PACKAGE: &str = "debian-archive-keyring";
const KEYRING_FILE: &str = "usr/share/keyrings/debian-archive-keyring.gpg";

/// The unpacked packages in a cache.
#[derive(Clone, Debug)]
pub struct Packages<'a> {
    cache: &'a Cache,
}

impl<'a> Packages<'a> {
    /// The packages in this cache.
    #[must_use]
    pub fn of(cache: &'a Cache) -> Packages<'a> {
        Packages { cache }
    }

    /// Where a package is unpacked, or will be.
    #[must_use]
    pub fn folder(&self, release: Release, package: &str) -> PathBuf {
        self.cache.folder().join("debian").join(std::env::consts::ARCH).join(release.name()).join(package)
    }

    /// The folders that a package may have libraries in, as it is unpacked.
    pub(crate) fn library_folders(package_folder: &Path) -> Vec<PathBuf> {
        let parts = [package_folder.join("usr/lib"), package_folder.join("lib")];
        let entries = parts.iter().filter_map(|part| fs::read_dir(part).ok()).flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// Whether every package of an engine is there.
    #[must_use]
    pub fn are_there(&self, engine: Engine) -> bool {
        engine.packages().iter().all(|(release, package)| self.folder(*release, package).is_dir())
    }

    /// Gets what these engines need and the cache lacks; with `refresh` also what it has. Returns how many
    /// packages were fetched. Other processes that fetch are waited for.
    ///
    /// # Errors
    ///
    /// When the host is not Debian, its mirror does not answer, or a signature is wrong. Releases that were
    /// fetched before stay.
    pub fn fetch(&self, engines: &[Engine], refresh: bool) -> Result<usize> {
        let wanted: BTreeSet<_> = engines.iter().flat_map(|engine| engine.packages()).collect();
        self.fetch_packages(&wanted, refresh)
            .context("cannot fetch engines (programs of your own can be named with --engine-path)")
    }

    fn fetch_packages(&self, wanted: &BTreeSet<(Release, &'static str)>, refresh: bool) -> Result<usize> {
        let missing = || {
            let mut missing = BTreeMap::<Release, Vec<&str>>::new();
            for (release, package) in wanted {
                if refresh || !self.folder(*release, package).is_dir() {
                    missing.entry(*release).or_default().push(package);
                }
            }
            missing
        };
        if missing().is_empty() {
            return Ok(0);
        }
        let lock = self.cache.lock()?;
        // Another process may have fetched meanwhile.
        let missing = missing();
        for (release, packages) in &missing {
            println!("fetching from Debian's release {}: {}", release.name(), packages.join(", "));
            let incoming = self.cache.incoming(&lock)?;
            self.fetch_release(&incoming, *release, packages)
                .with_context(|| format!("cannot fetch packages of Debian's release {}", release.name()))?;
            fs::remove_dir_all(&incoming).with_context(|| format!("cannot remove {}", incoming.display()))?;
        }
        Ok(missing.values().map(Vec::len).sum())
    }

    /// Gets a package of this release, and whatever it depends on that this host has not installed, into one
    /// folder, unless that is there. Returns the folder.
    ///
    /// # Errors
    ///
    /// As [`fetch`](Self::fetch), and if the host has other packages than the release.
    pub fn fetch_with_dependencies(&self, release: Release, package: &str) -> Result<PathBuf> {
        let folder = self.folder(release, &format!("{package}-with-dependencies"));
        if folder.is_dir() {
            return Ok(folder);
        }
        let lock = self.cache.lock()?;
        if !folder.is_dir() {
            println!("fetching from Debian's release {}: {package}, and what it depends on", release.name());
            let incoming = self.cache.incoming(&lock)?;
            let fresh = self.apt_with(&incoming, release)?.download_and_unpack_all(package)?;
            let parent = folder.parent().context("a package's folder has a parent")?;
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            fs::rename(&fresh, &folder)
                .with_context(|| format!("cannot move {} into place", fresh.display()))?;
            fs::remove_dir_all(&incoming).with_context(|| format!("cannot remove {}", incoming.display()))?;
        }
        Ok(folder)
    }

    fn fetch_release(&self, incoming: &Path, release: Release, packages: &[&str]) -> Result<()> {
        let apt = self.apt_with(incoming, release)?;
        for (package, fresh) in packages.iter().zip(apt.download_and_unpack(packages)?) {
            let folder = self.folder(release, package);
            let parent = folder.parent().context("a package's folder has a parent")?;
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
            if folder.exists() {
                let outdated = incoming.join(format!("outdated-{package}"));
                fs::rename(&folder, &outdated)
                    .with_context(|| format!("cannot replace {}", folder.display()))?;
            }
            fs::rename(&fresh, &folder)
                .with_context(|| format!("cannot move {} into place", fresh.display()))?;
        }
        Ok(())
    }

    /// Finds a mirror that offers the release with a signature that can be verified. The host's keyring may
    /// be older than the keys of newer releases, but that of Debian 12 has them; it comes with every engine,
    /// and is fetched first.
    fn apt_with(&self, incoming: &Path, release: Release) -> Result<Apt> {
        let keyring = match release {
            Release::Bookworm => PathBuf::from(HOST_KEYRING),
            _ => self.folder(Release::Bookworm, KEYRING_PACKAGE).join(KEYRING_FILE),
        };
        let apt = Apt::new(&incoming.join("apt"))?;
        let mut updated = Err(anyhow!("there is no mirror"));
        for mirror in Mirror::of_host(incoming)? {
            updated = updated.or_else(|_| apt.update(&mirror.sources_list(release.name(), &keyring)));
        }
        updated.map(|()| apt)
    }
}

/// apt with a sources file and folders of its own.
#[derive(Debug)]
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: &Path) -> Result<Apt> {
        for part in ["lists/partial", "cache/archives/partial", "download", "unpacked"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
        }
        Ok(Apt { folder: folder.to_owned() })
    }

    fn update(&self, sources_list: &str) -> Result<()> {
        let path = self.folder.join("sources.list");
        fs::write(&path, sources_list).with_context(|| format!("cannot write {}", path.display()))?;
        output(self.apt_get().arg("update")).map(drop)
    }

    /// The folders of the packages, in the order of their names.
    fn download_and_unpack(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let download = self.folder.join("download");
        output(self.apt_get().arg("download").args(packages).current_dir(&download))?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&download).with_context(|| format!("cannot read {}", download.display()))? {
            files.push(entry?.path());
        }
        let mut unpacked = Vec::new();
        for package in packages {
            let file = files.iter().find(|file| package_of(file) == Some(package));
            let file = file.with_context(|| format!("apt-get did not download {package}"))?;
            let folder = self.folder.join("unpacked").join(package);
            output(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&folder))?;
            unpacked.push(folder);
        }
        Ok(unpacked)
    }

    /// The folder with a package and what the host lacks of its dependencies.
    fn download_and_unpack_all(&self, package: &str) -> Result<PathBuf> {
        let mut install = self.apt_get();
        // Nothing is installed, so the host's lock is not needed.
        install.args([
            "install",
            "--download-only",
            "--no-install-recommends",
            "-o",
            "Debug::NoLocking=true",
        ]);
        output(install.arg(package))?;
        let (archives, folder) = (self.folder.join("cache/archives"), self.folder.join("unpacked/all"));
        for entry in fs::read_dir(&archives).with_context(|| format!("cannot read {}", archives.display()))? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                output(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&folder))?;
            }
        }
        Ok(folder)
    }

    fn apt_get(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        command.arg("--quiet").arg("--assume-yes");
        let folders = [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
        ];
        for (option, name) in folders {
            command.arg("-o").arg(format!("{option}={}", self.folder.join(name).display()));
        }
        let settings = [
            "Dir::Etc::sourceparts=-",
            // The host's pins would choose, or forbid, versions.
            "Dir::Etc::preferences=-",
            "Dir::Etc::preferencesparts=-",
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "Acquire::Retries=3",
            "Acquire::AllowInsecureRepositories=false",
            "Acquire::AllowWeakRepositories=false",
            "Acquire::AllowDowngradeToInsecureRepositories=false",
            "APT::Get::AllowUnauthenticated=false",
            "APT::Update::Error-Mode=any",
            // apt's own user cannot enter a private cache folder; apt would do the same, with a warning.
            "APT::Sandbox::User=root",
        ];
        command.args(settings.iter().flat_map(|setting| ["-o", setting]));
        command
    }
}

/// A package's file is called `NAME_VERSION_ARCHITECTURE.deb`.
fn package_of(file: &Path) -> Option<&str> {
    file.file_name()?.to_str()?.split_once('_').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packages_name_ends_at_the_first_underscore() {
        let file = Path::new("/d/busybox-static_1%3a1.35.0-4+b1_amd64.deb");
        assert_eq!(package_of(file), Some("busybox-static"));
    }

    #[test]
    fn an_engine_is_there_when_all_its_packages_are() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let packages = Packages::of(&cache);
        let [engine, ..] = Engine::ALL;
        let mut parts = engine.packages();
        let (last_release, last) = parts.pop().unwrap();
        for (release, package) in parts {
            fs::create_dir_all(packages.folder(release, package)).unwrap();
        }
        assert!(!packages.are_there(engine));
        fs::create_dir_all(packages.folder(last_release, last)).unwrap();
        assert!(packages.are_there(engine));
        assert_eq!(packages.fetch(&[engine], false).unwrap(), 0);
    }
}
