//! One process of an engine: started with its output in a log file, awaited until it answers, ended.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use super::installation::Installation;
use super::instance::unless_ending;
use super::processes::Pinned;

/// How long an engine may take until it answers. It is seconds, but a host can be busy.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A killed process ends at once, unless the host is in trouble.
const KILL_LIMIT: Duration = Duration::from_secs(60);

/// How much of the log goes into an error.
const LOG_LINES: usize = 12;

#[derive(Debug)]
pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    pinned: Pinned,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program of an engine with nothing of this process's environment. `folder/bin` is first in its
    /// PATH; its log is `folder/NAME.log`.
    pub(crate) fn start(
        installation: &Installation,
        name: &'static str,
        folder: &Path,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<Daemon> {
        Self::start_by(Command::new(folder.join("bin").join(name)), installation, name, folder, arguments)
    }

    /// The same by a command that becomes the program, once it has the arguments.
    pub(crate) fn start_by(
        mut command: Command,
        installation: &Installation,
        name: &'static str,
        folder: &Path,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<Daemon> {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}:/usr/sbin:/usr/bin:/sbin:/bin", folder.join("bin").display());
        command.env_clear().env("PATH", path).env("HOME", folder);
        arguments(&mut command);
        if let Some(library_path) = installation.library_path() {
            command.env("LD_LIBRARY_PATH", library_path);
        }
        let log = folder.join(format!("{name}.log"));
        unless_ending(|| {
            let output = File::options().create(true).append(true).open(&log);
            let output = output.with_context(|| format!("cannot open {}", log.display()))?;
            let errors = output.try_clone().context("cannot share a log file")?;
            command.stdin(Stdio::null()).stdout(output).stderr(errors).current_dir("/");
            // In a process group of its own, so that Ctrl-C ends us, and we end it.
            let child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
            let pinned = Pinned::new(child.id())?.with_context(|| format!("{name} is gone at once"))?;
            Ok(Daemon { name, child, pinned, log: log.clone() })
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&self) -> Result<bool> {
        Ok(!self.pinned.ended_within(Duration::ZERO)?)
    }

    /// Waits until it answers. There is nothing to await before it listens, so this asks again and again; its end
    /// is noticed at once.
    pub(crate) fn await_answer(&self, mut answers: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if answers() {
                return Ok(());
            }
            if self.pinned.ended_within(Duration::from_millis(25))? {
                bail!(
                    "{} ended instead of starting; its log ends with:\n{}",
                    self.name,
                    self.last_log_lines()
                );
            }
            if Instant::now() > deadline {
                let seconds = START_LIMIT.as_secs();
                bail!(
                    "{} does not answer after {seconds} s; its log ends with:\n{}",
                    self.name,
                    self.last_log_lines()
                );
            }
        }
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.pinned.signal(Signal::KILL)?;
        if !self.pinned.ended_within(KILL_LIMIT)? {
            bail!("{} does not end although it was killed", self.name);
        }
        self.child.wait().with_context(|| format!("cannot reap {}", self.name))?;
        Ok(())
    }

    /// Asks it to end with SIGTERM and waits for it.
    pub(crate) fn terminate(mut self, limit: Duration) -> Result<()> {
        self.pinned.signal(Signal::TERM)?;
        if !self.pinned.ended_within(limit)? {
            bail!("{} does not end; its log ends with:\n{}", self.name, self.last_log_lines());
        }
        self.child.wait().with_context(|| format!("cannot reap {}", self.name))?;
        Ok(())
    }

    fn last_log_lines(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&log), LOG_LINES)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It was ended before, or outlives this process: there is nothing to wait for.
        drop(self.child.try_wait());
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}
