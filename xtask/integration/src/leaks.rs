//! Tasks and descriptors, and whether they are gone when they should be.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, bail};
use tokio::runtime::{self, Handle, Runtime};
use tokio::time::{Duration, Instant, sleep};

use crate::recorder::LIMIT;

/// A runtime in which nothing but watches runs, so that its tasks are theirs.
pub(crate) struct Apart(Option<Runtime>);

impl Apart {
    pub(crate) fn build() -> Result<Apart> {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Ok(Apart(Some(runtime.context("cannot start a runtime")?)))
    }

    pub(crate) fn handle(&self) -> Result<&Handle> {
        Ok(self.0.as_ref().context("the runtime is there until it is dropped")?.handle())
    }

    /// Waits until no task is left: an aborted task ends when it is polled next.
    pub(crate) async fn is_empty(&self) -> Result<()> {
        let metrics = self.handle()?.metrics();
        vanish("tasks", || Ok(metrics.num_alive_tasks())).await
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Polls until none is left: nothing announces the end of a task or of a descriptor.
async fn vanish(what: &str, left: impl Fn() -> Result<usize>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while left()? > 0 {
        if Instant::now() > deadline {
            bail!("{} {what} are left", left()?);
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// What this process has open: each descriptor's number and what it is of.
pub(crate) fn descriptors() -> Result<BTreeSet<String>> {
    let mut open = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fd").context("cannot read /proc/self/fd")? {
        let path = entry?.path();
        let Ok(of) = fs::read_link(&path) else { continue };
        // The folder that is being read is open, too.
        if !of.starts_with("/proc") {
            open.insert(format!("{} {}", path.display(), of.display()));
        }
    }
    Ok(open)
}

pub(crate) async fn no_more_descriptors_than(before: &BTreeSet<String>) -> Result<()> {
    let more = || Ok(descriptors()?.difference(before).count());
    vanish("descriptors", more).await.with_context(|| format!("open are {:?}", descriptors()))
}
