//! Running cargo at the top of the workspace, and the cargo subcommands that are installed when they are missing.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Seek as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use xtask::cache::Cache;
use xtask::interrupt;
use xtask::output::output;

/// A cargo subcommand that cargo does not come with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// As it is called after `cargo`.
    subcommand: &'static str,
    version: &'static str,
    /// What makes its installation shorter.
    options: &'static [&'static str],
}

/// Checks licences, sources and banned crates.
pub(crate) const DENY: Tool =
    Tool { subcommand: "deny", version: "0.20.2", options: &["--no-default-features"] };

/// Runs cargo for each feature alone.
pub(crate) const HACK: Tool = Tool { subcommand: "hack", version: "0.6.46", options: &[] };

/// Changes code in small ways and runs its tests.
pub(crate) const MUTANTS: Tool = Tool { subcommand: "mutants", version: "27.1.0", options: &[] };

/// Compares the public API with that of a former version.
pub(crate) const SEMVER_CHECKS: Tool = Tool { subcommand: "semver-checks", version: "0.51.0", options: &[] };

/// cargo at the top of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(workspace());
    // The variables that cargo sets for this program would make another cargo rebuild some crates.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"]
            .iter()
            .any(|own| text.starts_with(own))
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end and makes a failure of it an error.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = interrupt::run(command)?;
    ensure!(status.success(), "`{}` failed ({status})", shown(command));
    Ok(())
}

/// The same of several commands at once; what each prints is shown when it ends.
pub(crate) fn succeed_together<const N: usize>(commands: [Command; N]) -> Result<()> {
    let show = |mut command: Command| {
        let mut printed = tempfile::tempfile().context("cannot make a temporary file")?;
        command.stdout(printed.try_clone()?).stderr(printed.try_clone()?);
        let outcome = succeed(&mut command);
        printed.rewind()?;
        io::copy(&mut printed, &mut io::stdout().lock())?;
        outcome
    };
    thread::scope(|scope| {
        let running = commands.map(|command| scope.spawn(|| show(command)));
        let outcomes = running.map(|thread| thread.join().map_err(|_| anyhow!("it panicked")).flatten());
        outcomes.into_iter().collect()
    })
}

/// How many programs can compute at once.
pub(crate) fn cpus() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// As a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    format!("cargo {}", arguments.collect::<Vec<_>>().join(" "))
}

impl Tool {
    /// `cargo SUBCOMMAND`: the one that is installed, else one of our own in the cache.
    pub(crate) fn ready(self) -> Result<Command> {
        let subcommand = self.subcommand;
        let mut installed = cargo();
        let version = installed.args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        if version.status().is_ok_and(|status| status.success()) {
            let mut command = cargo();
            command.arg(subcommand);
            return Ok(command);
        }
        let bin = self.installed_in(&Cache::open()?)?;
        let mut path = vec![bin];
        path.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
        let mut command = cargo();
        command
            .env("PATH", env::join_paths(path).context("a folder cannot be part of PATH")?)
            .arg(subcommand);
        Ok(command)
    }

    fn installed_in(self, cache: &Cache) -> Result<PathBuf> {
        let name = format!("cargo-{}", self.subcommand);
        let tools = cache.folder().join("tools");
        let root = tools.join(format!("{name}-{}", self.version));
        if root.is_dir() {
            return Ok(root.join("bin"));
        }
        let lock = cache.lock()?;
        if root.is_dir() {
            return Ok(root.join("bin"));
        }
        println!("installing {name} {} into {}", self.version, tools.display());
        let incoming = cache.incoming(&lock)?;
        let fresh = incoming.join("tool");
        let mut install = cargo();
        // Away from the workspace, whose settings are not for it.
        install.current_dir(&incoming).args(["install", "--quiet", "--locked"]);
        install.arg("--root").arg(&fresh).arg("--target-dir").arg(incoming.join("target"));
        install.arg(format!("{name}@{}", self.version)).args(self.options);
        // It runs for a second: what counts is how soon it is built.
        let profile = [("OPT_LEVEL", "0"), ("LTO", "off"), ("CODEGEN_UNITS", "16"), ("DEBUG", "false")];
        install.envs(profile.map(|(key, value)| (format!("CARGO_PROFILE_RELEASE_{key}"), value)));
        succeed(&mut install)?;
        fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
        fs::rename(&fresh, &root).with_context(|| format!("cannot move {name} to {}", root.display()))?;
        fs::remove_dir_all(&incoming).with_context(|| format!("cannot remove {}", incoming.display()))?;
        Ok(root.join("bin"))
    }
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Target {
        target_directory: PathBuf,
    }
    metadata().map(|Target { target_directory }| target_directory)
}

/// What cargo prints about the packages of the workspace.
pub(crate) fn metadata<T: DeserializeOwned>() -> Result<T> {
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    serde_json::from_str(&metadata).context("cargo prints other metadata")
}

/// The top of the workspace that this program was built from.
pub(crate) fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}
