//! The end of the program by a signal.

use std::process::{ExitCode, exit};
use std::thread::park_timeout;
use std::time::Duration;

use anyhow::Context;
use signal_hook::iterator::Signals;
use tokio::sync::oneshot;

use crate::output::Output;
use crate::thread::spawn_detached;

/// How long the program may take to end after a signal, in addition to what [`Output::end`] waits.
pub(crate) const CLEANUP_LIMIT: Duration = Duration::from_millis(40);

/// The same where a socket has to be removed, which takes longer on a busy machine.
pub(crate) const SOCKET_CLEANUP_LIMIT: Duration = Duration::from_secs(2);

/// Returns a future that resolves at the first of these signals, with its number and the program's status.
///
/// Threads of their own receive them, and end the process with that status at the second signal, or after the
/// limit if the program has not ended by then. So signals work whatever else is blocked.
pub(crate) fn signalled(
    signals: &[i32],
    limit: Duration,
    output: Output,
    status_of: impl Fn(u8) -> u8 + Send + 'static,
) -> anyhow::Result<oneshot::Receiver<(i32, ExitCode)>> {
    let mut signals = Signals::new(signals).context("cannot handle signals")?;
    let (sender, signalled) = oneshot::channel();
    spawn_detached("signals", move || {
        let mut signals = signals.forever();
        if let Some(signal) = signals.next() {
            let status = status_of(u8::try_from(signal).unwrap_or_default());
            let _ = sender.send((signal, ExitCode::from(status)));
            output.end();
            let limited = spawn_detached("end", move || {
                // Nothing unparks this thread: usually the process ends meanwhile.
                park_timeout(limit);
                exit(i32::from(status));
            });
            if limited.is_ok() {
                signals.next();
            }
            exit(i32::from(status));
        }
    })?;
    Ok(signalled)
}
