//! protoc, which containerd's API needs to be built: the one that is there, else Debian's, unpacked into the cache.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

use crate::cache::Cache;
use crate::engines::{Packages, Release};

/// What build scripts find protoc by.
const PROGRAM_VARIABLE: &str = "PROTOC";
/// What they find the definitions by that come with protoc.
const INCLUDE_VARIABLE: &str = "PROTOC_INCLUDE";

/// Debian 12's, which run on newer releases too: protoc, its definitions, and the libraries that only it needs.
const PACKAGES: [(Release, &str); 4] = [
    (Release::Bookworm, "protobuf-compiler"),
    (Release::Bookworm, "libprotobuf-dev"),
    (Release::Bookworm, "libprotobuf32"),
    (Release::Bookworm, "libprotoc32"),
];

/// What a build has to have in its environment to find protoc: nothing where it finds one anyway, that is where
/// `PROTOC` is set or a protoc that has its includes is on the `PATH`. Otherwise Debian's is fetched, once in the
/// cache's life. Where that fails the reason is told on stderr, and a build that needs protoc fails with its own
/// message.
#[must_use]
pub fn environment() -> &'static [(&'static str, PathBuf)] {
    static ENVIRONMENT: OnceLock<Vec<(&'static str, PathBuf)>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        if is_there(|name| env::var_os(name)) {
            return Vec::new();
        }
        match Cache::open().and_then(|cache| cached(&cache)) {
            Ok([program, include]) => vec![(PROGRAM_VARIABLE, program), (INCLUDE_VARIABLE, include)],
            Err(error) => {
                eprintln!(
                    "there is no protoc, so containerd's API cannot be built: install it (on Debian protobuf-compiler \
                     and libprotobuf-dev) or name it by {PROGRAM_VARIABLE}. Debian's cannot be used: {error:#}"
                );
                Vec::new()
            }
        }
    })
}

fn is_there(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let named = variable(PROGRAM_VARIABLE).is_some_and(|program| !program.is_empty());
    let folders = variable("PATH").unwrap_or_default();
    let mut on_path = env::split_paths(&folders).map(|folder| folder.join("protoc"));
    named
        || on_path
            .find(|program| program.is_file())
            .is_some_and(|program| works(&program, variable(INCLUDE_VARIABLE).as_deref()).is_ok())
}

/// protoc and its includes in the cache, fetched if need be.
fn cached(cache: &Cache) -> Result<[PathBuf; 2]> {
    let packages = Packages::of(cache);
    packages.fetch_packages(&PACKAGES, false)?;
    let [compiler, definitions, ..] = PACKAGES.map(|(release, package)| packages.folder(release, package));
    let include = definitions.join("usr/include");
    // It lies beside the packages and names them, so it is right for as long as they are there.
    let wrapper = compiler.with_extension("sh");
    if works(&wrapper, Some(include.as_os_str())).is_err() {
        let folders = PACKAGES.iter().map(|(release, package)| packages.folder(*release, package));
        let libraries = folders.flat_map(|folder| Packages::library_folders(&folder));
        let libraries = env::join_paths(libraries).context("a folder of the cache cannot be searched")?;
        let _lock = cache.lock()?;
        write_wrapper(&wrapper, &compiler.join("usr/bin/protoc"), &libraries)?;
        works(&wrapper, Some(include.as_os_str())).context("Debian's protoc does not run on this host")?;
    }
    Ok([wrapper, include])
}

/// A library path for protoc alone: set for cargo, it would be every program's.
fn write_wrapper(path: &Path, program: &Path, libraries: &OsStr) -> Result<()> {
    let draft = path.with_extension("draft");
    let mut script = b"#!/bin/sh\nLD_LIBRARY_PATH=".to_vec();
    script.extend(quoted(libraries));
    script.extend_from_slice(b" exec ");
    script.extend(quoted(program.as_os_str()));
    script.extend_from_slice(b" \"$@\"\n");
    fs::write(&draft, script).with_context(|| format!("cannot write {}", draft.display()))?;
    fs::set_permissions(&draft, Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} a program", draft.display()))?;
    fs::rename(&draft, path).with_context(|| format!("cannot write {}", path.display()))
}

/// For a shell.
fn quoted(text: &OsStr) -> Vec<u8> {
    let inner = text.as_bytes().iter().flat_map(|byte| match byte {
        b'\'' => b"'\\''".to_vec(),
        other => vec![*other],
    });
    [b'\''].into_iter().chain(inner).chain([b'\'']).collect()
}

/// Has it read a definition that comes with it.
fn works(program: &Path, include: Option<&OsStr>) -> Result<()> {
    let mut command = Command::new(program);
    if let Some(include) = include.filter(|include| !include.is_empty()) {
        command.arg("--proto_path").arg(include);
    }
    command.arg("--descriptor_set_out=/dev/null").arg("google/protobuf/any.proto").current_dir("/");
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} failed ({}): {}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that acts like protoc as far as is asked here, in a folder of its own.
    fn program_in(folder: &Path, name: &str, script: &str) {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    fn is_there_with(variables: &[(&str, &Path)]) -> bool {
        is_there(|name| {
            let variable = variables.iter().find(|(known, _)| *known == name);
            variable.map(|(_, value)| value.as_os_str().to_owned())
        })
    }

    #[test]
    fn a_named_protoc_is_taken_as_it_is() {
        assert!(is_there_with(&[("PROTOC", Path::new("/opt/protoc"))]));
        assert!(!is_there_with(&[("PROTOC", Path::new(""))]));
        assert!(!is_there_with(&[]));
    }

    #[test]
    fn a_protoc_on_the_path_counts_only_with_its_includes() {
        let folder = tempfile::tempdir().unwrap();
        let (complete, bare) = (folder.path().join("complete"), folder.path().join("bare"));
        program_in(&complete, "protoc", "exit 0");
        program_in(&bare, "protoc", "case \"$*\" in *--proto_path\\ /includes*) exit 0;; esac; exit 1");
        assert!(is_there_with(&[("PATH", &complete)]));
        assert!(!is_there_with(&[("PATH", &bare)]));
        assert!(is_there_with(&[("PATH", &bare), ("PROTOC_INCLUDE", Path::new("/includes"))]));
        assert!(!is_there_with(&[("PATH", folder.path())]));
    }

    /// The packages as they are unpacked, with a protoc that tells what it was called with.
    fn unpacked(cache: &Cache, script: &str) {
        let packages = Packages::of(cache);
        for (release, package) in PACKAGES {
            let folder = packages.folder(release, package);
            fs::create_dir_all(folder.join("usr/lib/of-some-machine")).unwrap();
            fs::create_dir_all(folder.join("usr/include")).unwrap();
        }
        let (release, package) = PACKAGES[0];
        program_in(&packages.folder(release, package).join("usr/bin"), "protoc", script);
    }

    #[test]
    fn the_cached_protoc_finds_its_libraries_and_gets_its_arguments_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(&folder.path().join("it's a cache")).unwrap();
        let told = folder.path().join("told");
        unpacked(&cache, &format!("printf '%s\\n' \"$LD_LIBRARY_PATH\" \"$@\" > {}", told.display()));
        let [program, include] = cached(&cache).unwrap();
        assert!(include.ends_with("libprotobuf-dev/usr/include"));
        let status = Command::new(&program).args(["one two", "$three"]).status().unwrap();
        assert!(status.success());
        let told = fs::read_to_string(told).unwrap();
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines[0].contains("it's a cache"), "{told}");
        assert!(lines[0].contains("libprotoc32/usr/lib/of-some-machine"), "{told}");
        assert_eq!(lines[1..], ["one two", "$three"]);
    }

    #[test]
    fn a_cached_protoc_that_does_not_run_is_an_error_that_quotes_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        unpacked(&cache, "echo wants another libc >&2; exit 1");
        let error = format!("{:#}", cached(&cache).unwrap_err());
        assert!(error.contains("does not run on this host"), "{error}");
        assert!(error.contains("wants another libc"), "{error}");
    }
}
