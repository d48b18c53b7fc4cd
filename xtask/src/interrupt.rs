//! Ending in good order on SIGINT and SIGTERM: children first, then the private engines of this process.

use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::engines::{Pinned, clear_all_of_this_process};

/// How long a child may take to clean up after itself.
const CHILD_LIMIT: Duration = Duration::from_secs(60);

static CHILD: Mutex<Option<Pinned>> = Mutex::new(None);

/// From now on, SIGINT and SIGTERM clear away every private engine of this process and then end it, with exit code
/// 130 or 143. Call it once, at the start of `main`.
///
/// # Errors
///
/// When the signals cannot be handled.
pub fn clean_up_on_signals() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot handle SIGINT and SIGTERM")?;
    let waiting = move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("interrupted: cleaning up");
            end_child();
            clear_all_of_this_process();
            std::process::exit(128 + signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(waiting).context("cannot start a thread")?;
    Ok(())
}

/// Runs a program to its end, and ends it when this process is told to end.
///
/// # Errors
///
/// When it cannot be started.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut started = start(command)?;
    let status = started.wait().with_context(|| format!("cannot wait for {name}"));
    *child() = None;
    status
}

/// The same with a time limit, after which the program, but none that it started, is killed and `None` returned.
///
/// # Errors
///
/// When it cannot be started.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut started = start(command)?;
    let ended = match Pinned::new(started.id())? {
        Some(pinned) => pinned.ended_within(limit)?,
        None => true,
    };
    if !ended {
        started.kill().with_context(|| format!("cannot kill {name}"))?;
    }
    let status = started.wait().with_context(|| format!("cannot wait for {name}"));
    *child() = None;
    status.map(|status| ended.then_some(status))
}

fn start(command: &mut Command) -> Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = child();
    let started = command.spawn().with_context(|| format!("cannot start {name}"))?;
    *child = Pinned::new(started.id())?;
    Ok(started)
}

fn end_child() {
    let child = child().take();
    if let Some(child) = child {
        let ended = child.signal(Signal::TERM).and_then(|()| child.ended_within(CHILD_LIMIT));
        if !matches!(ended, Ok(true)) {
            eprintln!("a child process does not end: {ended:?}");
        }
    }
}

fn child() -> MutexGuard<'static, Option<Pinned>> {
    CHILD.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_in_time_is_ended() {
        let long = run_within(Command::new("sleep").arg("600"), Duration::from_millis(1)).unwrap();
        assert!(long.is_none());
        let short = run_within(&mut Command::new("false"), Duration::from_secs(60)).unwrap();
        assert_eq!(short.and_then(|status| status.code()), Some(1));
    }
}
