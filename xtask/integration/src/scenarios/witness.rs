//! The kernel is the witness of ends, while the engine hangs or is gone.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use whalewatcher_core::{EventKind, SeenBy, Witness};
use whalewatcher_kernel::Kernel;

use super::{Stopped, is_reported, kill};
use crate::fixture::{Fixture, settings};
use crate::recorder::Reader;
use crate::watched::Watched;

const ENDING: [&str; 4] = ["goes-0", "goes-1", "goes-2", "goes-3"];

/// Runs containers and watches them, with the kernel as a witness. Returns the PIDs of those that are to end.
async fn witnessed<F: Fixture>(fixture: &F) -> Result<(Watched<F::Client>, Vec<u32>)> {
    fixture.prepare().await?;
    fixture.run("stays", None).await?;
    let mut ids = Vec::new();
    for name in ENDING {
        ids.push(fixture.run(name, None).await?);
    }
    let kernel: Arc<dyn Witness> = Arc::new(Kernel::new());
    let watched = fixture.begin_watch(settings().with_witness(kernel))?;
    watched.ready().await?;
    // CRI may emit the exit before the watcher is subscribed again, and record it only later.
    let watched = if F::FAILS_INSPECTIONS { watched.that_is_hindered() } else { watched.that_is_cut() };
    fixture.check(&watched).await?;
    let status = watched.watching.status();
    ensure!(status.unwitnessed == 0, "{} lives are not watched", status.unwitnessed);
    let truth = fixture.truth().await?;
    let pids = ids.iter().map(|id| Ok(truth.alive.get(id).context("it is not alive")?.pid));
    Ok((watched, pids.collect::<Result<_>>()?))
}

/// Checks that exactly the ends were reported, each once and by the kernel.
fn are_seen_by_the_kernel<F: Fixture>(watched: &Watched<F::Client>, reported: &Reader<'_>) -> Result<()> {
    is_reported(&reported.rest(), &ENDING.map(|name| (name, &["exited"][..])), watched.recorder())?;
    let record = watched.recorder().record();
    let mut ends = record.events.iter().filter(|event| {
        matches!(&event.kind, EventKind::Exited { container, .. } if ENDING.contains(&container.name()))
    });
    ensure!(ends.all(|end| end.seen_by == SeenBy::Kernel), "the engine reported one of them");
    Ok(())
}

pub(crate) async fn ends_are_known_while_the_engine_hangs_and_are_not_reported_again<F: Fixture>(
    fixture: &F,
) -> Result<()> {
    let (watched, pids) = witnessed(fixture).await?;
    let reported = Reader::new(watched.recorder());
    let stopped = Stopped::new(fixture.engine().pid())?;
    pids.into_iter().try_for_each(kill)?;
    watched.recorder().until_reported(ENDING.len(), "exited").await?;
    drop(stopped);
    // What the engine reports of these ends arrives before this.
    fixture.fence(&watched).await?;
    fixture.check(&watched).await?;
    are_seen_by_the_kernel::<F>(&watched, &reported)
}

/// On engines that leave containers alive when they are killed.
pub(crate) async fn ends_are_known_while_the_engine_is_away_and_are_not_reported_again<F: Fixture>(
    fixture: &F,
) -> Result<()> {
    let (watched, pids) = witnessed(fixture).await?;
    let reported = Reader::new(watched.recorder());
    fixture.kill_engine()?;
    watched.recorder().until_reported(1, "disconnected").await?;
    let killed = SystemTime::now();
    pids.into_iter().try_for_each(kill)?;
    watched.recorder().until_reported(ENDING.len(), "exited").await?;
    let last = watched.recorder().record().came.last().copied().unwrap_or(killed);
    let took = last.duration_since(killed).unwrap_or_default();
    fixture.figure(format!("{} ends known after {:.1} ms", ENDING.len(), took.as_secs_f64() * 1000.0));
    fixture.start_engine_with(true)?;
    watched.in_sync_again(1).await?;
    fixture.check(&watched).await?;
    are_seen_by_the_kernel::<F>(&watched, &reported)
}
