//! The programs of an engine: from the unpacked packages, from flags, or from the host.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::engine::{Engine, EngineKind, Release};
use super::packages::Packages;
use crate::cache::Cache;
use crate::output::output;

/// Programs to use instead of, or in place of, those of Debian's packages.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GivenPrograms {
    /// Look for programs in this folder first; can be repeated
    #[arg(long, value_name = "FOLDER")]
    pub engine_path: Vec<PathBuf>,
}

impl GivenPrograms {
    /// The same as command line flags, to hand them on to another program.
    #[must_use]
    pub fn to_flags(&self) -> Vec<OsString> {
        let flags = self.engine_path.iter();
        flags.flat_map(|folder| ["--engine-path".into(), folder.clone().into_os_string()]).collect()
    }
}

/// Where each program of one engine is.
#[derive(Clone, Debug)]
pub struct Installation {
    engine: Engine,
    programs: BTreeMap<&'static str, PathBuf>,
    library_path: Option<OsString>,
}

impl Installation {
    /// Finds the programs of an engine, without fetching anything.
    ///
    /// # Errors
    ///
    /// When one is missing; the message says how to get it.
    pub fn find(cache: &Cache, engine: Engine, given: &GivenPrograms) -> Result<Installation> {
        let packages = Packages::of(cache);
        let mut folders = given.engine_path.clone();
        if engine.release == Release::Given {
            folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
        }
        let package_folders: Vec<PathBuf> =
            engine.packages().iter().map(|(release, package)| packages.folder(*release, package)).collect();
        for folder in &package_folders {
            folders.extend(["usr/sbin", "usr/bin", "sbin", "bin"].map(|part| folder.join(part)));
        }
        let (needed, optional): (&[&'static str], &[&'static str]) = match engine.kind {
            EngineKind::Docker => (
                &["dockerd", "containerd", "containerd-shim-runc-v2", "runc", "busybox"],
                &[
                    "ctr",
                    "docker",
                    "docker-init",
                    "docker-proxy",
                    "nginx",
                    "haproxy",
                    "prometheus",
                    "promtool",
                    "sshd",
                ],
            ),
            EngineKind::Containerd => (
                &["containerd", "containerd-shim-runc-v2", "runc", "busybox", "ctr"],
                &["dockerd", "docker-init", "docker-proxy"],
            ),
            EngineKind::Cri => (&["containerd", "containerd-shim-runc-v2", "runc", "busybox", "ctr"], &[]),
            EngineKind::Podman => (&["podman", "conmon", "runc", "busybox"], &[]),
            EngineKind::Etcd => (&["etcd"], &[]),
        };
        let mut programs = BTreeMap::new();
        for program in needed.iter().chain(optional) {
            match found(program, &folders)? {
                Some(path) => drop(programs.insert(*program, path)),
                None if optional.contains(program) => {}
                None if engine.release == Release::Given => {
                    bail!("{program} of {engine} is nowhere: name its folder with --engine-path")
                }
                None => bail!("{engine} is not there yet: run `cargo xtask engines fetch --engine {engine}`"),
            }
        }
        let mut installation = Installation { engine, programs, library_path: None };
        installation.library_path = installation.missing_libraries(&package_folders)?;
        Ok(installation)
    }

    /// Which engine this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Where one of its programs is.
    ///
    /// # Errors
    ///
    /// When the engine has no such program.
    pub fn program(&self, name: &str) -> Result<&Path> {
        let path =
            self.programs.get(name).with_context(|| format!("{} has no program {name}", self.engine))?;
        Ok(path)
    }

    /// Every program by its name.
    pub fn programs(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.programs.iter().map(|(name, path)| (*name, path.as_path()))
    }

    /// Links the programs into `FOLDER/bin`, so that they find each other.
    pub(crate) fn link_programs(&self, folder: &Path) -> Result<()> {
        let bin = folder.join("bin");
        fs::create_dir(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
        // Only what belongs to the engine: busybox's folder could hold a shell.
        for (name, path) in self.programs().filter(|(name, _)| *name != "busybox") {
            symlink(path, bin.join(name)).with_context(|| format!("cannot link {}", path.display()))?;
        }
        Ok(())
    }

    /// The value for `LD_LIBRARY_PATH`, when the host lacks a library that the programs need.
    #[must_use]
    pub fn library_path(&self) -> Option<&OsString> {
        self.library_path.as_ref()
    }

    /// A program of this engine, with an environment in which it finds its libraries.
    ///
    /// # Errors
    ///
    /// When the engine has no such program.
    pub fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(self.program(name)?);
        if let Some(library_path) = &self.library_path {
            command.env("LD_LIBRARY_PATH", library_path);
        }
        Ok(command)
    }

    /// The version that a program of it says it has.
    ///
    /// # Errors
    ///
    /// When the program does not run on this host.
    pub fn version_of(&self, name: &str) -> Result<String> {
        let printed = output(self.command(name)?.arg("--version"));
        let printed = printed.with_context(|| format!("{name} of {} does not run here", self.engine))?;
        version_in(&printed).with_context(|| format!("{name} of {} does not report its version", self.engine))
    }

    /// The version of the engine itself.
    ///
    /// # Errors
    ///
    /// When it does not run on this host.
    pub fn version(&self) -> Result<String> {
        self.version_of(self.engine.kind.daemon())
    }

    /// Only where the host lacks something, for the folders would replace what the host has.
    fn missing_libraries(&self, package_folders: &[PathBuf]) -> Result<Option<OsString>> {
        let linked = Command::new("ldd").args(self.programs.values()).output();
        // Without ldd, the program itself will say what it misses.
        let missing =
            linked.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("=> not found"));
        if !missing {
            return Ok(None);
        }
        let folders = package_folders.iter().flat_map(|folder| Packages::library_folders(folder));
        Ok(Some(env::join_paths(folders).context("a folder of the cache cannot be part of a search path")?))
    }
}

fn found(program: &str, folders: &[PathBuf]) -> Result<Option<PathBuf>> {
    let here = folders.iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    here.map(|path| path.canonicalize().with_context(|| format!("cannot resolve {}", path.display())))
        .transpose()
}

/// The first word that starts like a version, without Debian's suffix.
fn version_in(text: &str) -> Option<String> {
    let is_version = |word: &&str| {
        word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.') && !word.contains('/')
    };
    let word =
        text.split([' ', ',', '\n']).map(|word| word.strip_prefix('v').unwrap_or(word)).find(is_version)?;
    Some(word.split(['+', '~']).next().unwrap_or(word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_the_programs_say() {
        let docker = "Docker version 20.10.24+dfsg1, build 5d6db84\n";
        assert_eq!(version_in(docker).as_deref(), Some("20.10.24"));
        let containerd = "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3\n";
        assert_eq!(version_in(containerd).as_deref(), Some("1.6.20"));
        let newer = "containerd github.com/containerd/containerd/v2 v2.1.9 deadbeef\n";
        assert_eq!(version_in(newer).as_deref(), Some("2.1.9"));
        assert_eq!(version_in("no version"), None);
    }

    #[test]
    fn an_engine_that_was_not_fetched_says_how_to_fetch_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let [engine, ..] = Engine::ALL;
        let error = Installation::find(&cache, engine, &GivenPrograms::default()).unwrap_err().to_string();
        assert!(error.contains("cargo xtask engines fetch --engine docker@bookworm"), "{error}");
    }
}
