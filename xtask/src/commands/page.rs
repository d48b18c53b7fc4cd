//! The tests of the page of `whalewatcher serve`, in Chromium.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use xtask::cache::Cache;
use xtask::engines::{Packages, Release};

use super::cargo::{cargo, succeed};
use super::features::Everything;

/// Chromium without windows. It needs less than the browser, and no driver.
const PACKAGE: &str = "chromium-headless-shell";

/// Names Chromium to the tests.
const VARIABLE: &str = "WHALEWATCHER_CHROMIUM";

/// Starts it as it is unpacked, with its libraries.
const SCRIPT: &str = r#"#!/bin/sh
here=$(dirname "$0")
for folder in "$here"/usr/lib/*-linux-gnu* "$here"/usr/lib/*-linux-gnu*/pulseaudio; do
    LD_LIBRARY_PATH=$folder:$LD_LIBRARY_PATH
done
export LD_LIBRARY_PATH
exec "$here/usr/lib/chromium/chromium-headless-shell" "$@"
"#;

/// Whether there is a Chromium, or Debian to get it from.
pub(crate) fn can_run() -> bool {
    std::env::var_os(VARIABLE).is_some() || Path::new("/etc/debian_version").exists()
}

/// Runs the tests that need Chromium, which they find in `$WHALEWATCHER_CHROMIUM` or get from Debian.
pub(crate) fn test() -> Result<()> {
    let program = match std::env::var_os(VARIABLE) {
        Some(program) => PathBuf::from(program),
        None => fetch()?,
    };
    let mut test = cargo();
    Everything::load()?.of(test.args(["test", "--test", "program"]));
    succeed(test.args(["--", "--ignored", "page::"]).env(VARIABLE, program))
}

fn fetch() -> Result<PathBuf> {
    let cache = Cache::open()?;
    let folder = Packages::of(&cache).fetch_with_dependencies(Release::Bookworm, PACKAGE)?;
    let script = folder.join("chromium");
    fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", script.display()))?;
    Ok(script)
}
