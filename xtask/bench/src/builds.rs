//! What it takes to build: crates, and seconds of a clean release build in a folder of its own; and how large the program
//! is.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use whalewatcher_bench::sample::Sample;

use crate::bench::Effort;
use crate::figure::{Figure, Unit};

pub(crate) fn moby(_: &Effort) -> Result<Vec<Figure>> {
    of("build-moby", "whalewatcher-moby").map(|(figures, _)| figures)
}

pub(crate) fn containerd(_: &Effort) -> Result<Vec<Figure>> {
    of("build-containerd", "whalewatcher-containerd").map(|(figures, _)| figures)
}

pub(crate) fn cri(_: &Effort) -> Result<Vec<Figure>> {
    of("build-cri", "whalewatcher-cri").map(|(figures, _)| figures)
}

pub(crate) fn program(_: &Effort) -> Result<Vec<Figure>> {
    let (mut figures, target) = of("build-program", "whalewatcher-cli")?;
    let program = target.path().join("release/whalewatcher");
    let size = fs::metadata(&program).with_context(|| format!("cannot look at {}", program.display()))?.len();
    let megabytes = Sample::once(size as f64 / 1e6);
    figures.push(Figure::new("build-program", "the stripped program", Unit::Megabytes, megabytes));
    Ok(figures)
}

/// What it takes to build this package; and where it was built.
fn of(bench: &'static str, package: &str) -> Result<(Vec<Figure>, tempfile::TempDir)> {
    let crates = crates(package)?;
    let target = beside_this_program()?;
    let mut build = cargo();
    build.args(["build", "--quiet", "--release", "--locked", "--package", package]);
    build.arg("--target-dir").arg(target.path()).env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    let begin = Instant::now();
    let status = build.status().context("cannot start cargo")?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(status.success(), "{package} cannot be built ({status})");
    let figures = vec![
        Figure::new(bench, format!("crates of {package}"), Unit::Count, Sample::once(crates as f64)),
        Figure::new(bench, format!("clean release build of {package}"), Unit::Seconds, Sample::once(seconds)),
    ];
    Ok((figures, target))
}

/// How many crates are built, with itself.
fn crates(package: &str) -> Result<usize> {
    let format = ["--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let output = cargo()
        .args(["tree", "--locked", "--no-dedupe", "--package", package])
        .args(format)
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "`cargo tree` failed: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).context("names of crates are text")?;
    let mut lines: Vec<&str> = tree.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    Ok(lines.len())
}

/// A folder that goes with what is in it, on the disk that builds go to anyway.
fn beside_this_program() -> Result<tempfile::TempDir> {
    let own = env::current_exe().context("cannot report where this program is")?;
    let folder = own.parent().map(Path::to_path_buf).unwrap_or_else(env::temp_dir);
    tempfile::Builder::new().prefix("bench-build-").tempdir_in(folder).context("cannot make a folder")
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(workspace());
    command
}

/// The top of the workspace that this program was built from.
fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_path_buf()
}
