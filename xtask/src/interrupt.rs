//! Ending in good order on SIGINT and SIGTERM: children first, then the private engines of this process.

use std::borrow::Cow;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::engines::{Pinned, clear_all_of_this_process, kill_children};

/// How long a child may take to clean up after itself.
const CHILD_LIMIT: Duration = Duration::from_secs(60);

/// The programs that this process runs.
#[derive(Debug)]
struct Children {
    ending: bool,
    running: Vec<Arc<Pinned>>,
}

static CHILDREN: Mutex<Children> = Mutex::new(Children { ending: false, running: Vec::new() });

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
            end_children();
            clear_all_of_this_process();
            end_others();
            std::process::exit(128 + signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(waiting).context("cannot start a thread")?;
    Ok(())
}

/// Runs a program to its end, and ends it when this process is signalled to end. Several threads may run one each.
///
/// # Errors
///
/// When it cannot be started.
pub fn run(command: &mut Command) -> Result<ExitStatus> {
    let (mut child, pinned) = start(command)?;
    let status = child.wait().with_context(|| format!("cannot wait for {}", name_of(command)));
    let mut children = children();
    children.running.retain(|other| !Arc::ptr_eq(other, &pinned));
    if children.ending {
        drop(children);
        park_until_the_end();
    }
    status
}

fn start(command: &mut Command) -> Result<(Child, Arc<Pinned>)> {
    let mut children = children();
    if children.ending {
        drop(children);
        park_until_the_end();
    }
    let started = command.spawn().with_context(|| format!("cannot start {}", name_of(command)))?;
    // It stays until it is waited for, even if it has ended already.
    let pinned = Arc::new(Pinned::new(started.id())?.context("a child is gone")?);
    children.running.push(pinned.clone());
    Ok((started, pinned))
}

/// The thread that handles signals ends this process, once everything is cleared away. An error that is
/// returned meanwhile could end it sooner, and with another exit code.
fn park_until_the_end() -> ! {
    loop {
        thread::park();
    }
}

fn name_of(command: &Command) -> Cow<'_, str> {
    command.get_program().to_string_lossy()
}

fn end_children() {
    let running = {
        let mut children = children();
        children.ending = true;
        std::mem::take(&mut children.running)
    };
    let signalled: Vec<_> = running.iter().map(|child| child.signal(Signal::TERM)).collect();
    for (child, signalled) in running.iter().zip(signalled) {
        let ended = signalled.and_then(|()| child.ended_within(CHILD_LIMIT));
        if !matches!(ended, Ok(true)) {
            eprintln!("a child process does not end: {ended:?}");
        }
    }
}

/// Ends what this process has started in other ways, such as the programs that a scenario runs.
pub fn end_others() {
    if let Err(error) = kill_children(CHILD_LIMIT) {
        eprintln!("not everything has ended: {error:#}");
    }
}

fn children() -> MutexGuard<'static, Children> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}
