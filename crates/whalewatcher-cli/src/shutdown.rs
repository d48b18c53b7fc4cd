//! The end of the program, and what can keep it from starting.

use std::io::stderr;
use std::process::exit;
use std::thread::park_timeout;
use std::time::Duration;

use anyhow::{Context, anyhow};
use signal_hook::iterator::Signals;
use tokio::sync::oneshot;

use crate::output::Output;
use crate::thread::spawn_detached;

/// How long the program may take to tidy up after a signal, in addition to what [`Output::end`] waits.
pub(crate) const TIDYING: Duration = Duration::from_millis(40);

/// The same where a socket is to be removed, which a busy machine must not prevent.
pub(crate) const REMOVING: Duration = Duration::from_secs(2);

/// How many descriptors the program needs to start and to connect to one engine.
const DESCRIPTORS: usize = 8;

/// Resolves at the first of these signals.
///
/// A thread of its own receives them, and ends the process with status 0 if the program has not ended by itself after what
/// `tidying` takes at most: whatever blocks, signals work.
pub(crate) fn signalled(
    signals: &[i32],
    tidying: Duration,
    output: Output,
) -> anyhow::Result<oneshot::Receiver<()>> {
    let mut signals = Signals::new(signals).context("cannot handle signals")?;
    let (sender, signalled) = oneshot::channel();
    spawn_detached("signals", move || {
        if signals.forever().next().is_some() {
            let _ = sender.send(());
            output.end();
            // Nothing unparks it: the process ends meanwhile, or here.
            park_timeout(tidying);
            exit(0);
        }
    })?;
    Ok(signalled)
}

/// Checks that the program can open the descriptors that it needs: tokio panics where it cannot have its own.
pub(crate) fn check_descriptors() -> anyhow::Result<()> {
    let all: Result<Vec<_>, _> = (0..DESCRIPTORS).map(|_| rustix::io::dup(stderr())).collect();
    all.map(drop).map_err(|error| {
        anyhow!("cannot open {DESCRIPTORS} more files: {error}; raise the limit with 'ulimit -n'")
    })
}
