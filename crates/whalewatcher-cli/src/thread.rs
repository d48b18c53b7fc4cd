//! Threads for code that may block.

use std::thread;

use anyhow::Context;

/// Spawns a thread that the program does not wait for when it ends.
pub(crate) fn spawn_detached(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map(drop).with_context(|| format!("cannot start the thread '{name}'"))
}
