//! The kernel is the witness of ends, while the engine hangs or is gone.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;
use whalewatcher_core::{EventKind, SeenBy, Witness};
use whalewatcher_kernel::Kernel;

use super::{Stopped, is_reported, kill};
use crate::fixture::{Fixture, settings};
use crate::recorder::{LIMIT, Reader};
use crate::watched::Watched;

/// How many containers end.
const ENDING: usize = 4;

fn ending() -> impl Iterator<Item = String> {
    (0..ENDING).map(|number| format!("goes-{number}"))
}

/// Runs containers and watches them, with the kernel as a witness. Returns the PIDs of those that are to end.
async fn witnessed<F: Fixture>(fixture: &F) -> Result<(Watched<F::Client>, Vec<u32>)> {
    fixture.prepare().await?;
    fixture.run("stays", None).await?;
    let mut ids = Vec::new();
    for name in ending() {
        ids.push(fixture.run(&name, None).await?);
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

/// Kills the processes, two at once and once the former ends were reported, and says how soon they were.
async fn end<F: Fixture>(fixture: &F, watched: &Watched<F::Client>, pids: Vec<u32>) -> Result<()> {
    let mut killed = HashMap::new();
    for two in pids.chunks(2) {
        for pid in two {
            killed.insert(*pid, SystemTime::now());
            kill(*pid)?;
        }
        watched.recorder().until_reported(killed.len(), "exited").await?;
    }
    let record = watched.recorder().record();
    let ends = record.events.iter().zip(&record.came).filter_map(|(event, came)| match &event.kind {
        EventKind::Exited { container, .. } => Some(came.duration_since(*killed.get(&container.pid())?)),
        _ => None,
    });
    let mut delays: Vec<_> = ends.map(Result::unwrap_or_default).collect();
    delays.sort();
    let nearest = |percent: usize| {
        let delay = delays.get((delays.len() * percent).div_ceil(100).saturating_sub(1));
        delay.copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    fixture.figure(format!(
        "ends known after {:.1} ms (median), {:.1} ms (99 %), {:.1} ms (all {})",
        nearest(50),
        nearest(99),
        nearest(100),
        delays.len()
    ));
    Ok(())
}

/// Checks that exactly the ends were reported, each once and by the kernel.
fn are_seen_by_the_kernel<F: Fixture>(watched: &Watched<F::Client>, reported: &Reader<'_>) -> Result<()> {
    let names: Vec<_> = ending().collect();
    let expected: Vec<_> = names.iter().map(|name| (name.as_str(), &["exited"][..])).collect();
    is_reported(&reported.rest(), &expected, watched.recorder())?;
    let record = watched.recorder().record();
    let mut ends = record.events.iter().filter(|event| {
        matches!(&event.kind, EventKind::Exited { container, .. } if names.iter().any(|name| name == container.name()))
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
    end(fixture, &watched, pids).await?;
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
    end(fixture, &watched, pids).await?;
    fixture.start_engine_with(true)?;
    watched.in_sync_again(1).await?;
    fixture.check(&watched).await?;
    are_seen_by_the_kernel::<F>(&watched, &reported)
}

/// A runc that fails until this is dropped.
struct BrokenRunc {
    runc: PathBuf,
    away: PathBuf,
}

impl BrokenRunc {
    fn new(folder: &Path) -> Result<BrokenRunc> {
        let runc = folder.join("bin/runc");
        let broken = BrokenRunc { away: runc.with_extension("away"), runc };
        fs::rename(&broken.runc, &broken.away).context("the engine has no runc of its own")?;
        symlink("/bin/false", &broken.runc)?;
        Ok(broken)
    }
}

impl Drop for BrokenRunc {
    fn drop(&mut self) {
        // Renaming replaces the other one. Without it, what comes next says that it is missing.
        let _ = fs::rename(&self.away, &self.runc);
    }
}

/// A shim that is killed is taken for the end of its container, because runc then kills what is left. If runc
/// cannot, it goes on.
pub(crate) async fn a_false_end_of_a_life_that_goes_on_is_not_reported<F: Fixture>(
    fixture: &F,
) -> Result<()> {
    fixture.prepare().await?;
    fixture.run("stays", None).await?;
    let id = fixture.run("goes-on", None).await?;
    let kernel: Arc<dyn Witness> = Arc::new(Kernel::new());
    let watched = fixture.begin_watch(settings().with_witness(kernel))?;
    watched.ready().await?;
    fixture.check(&watched).await?;
    let reported = Reader::new(watched.recorder());
    let pid = fixture.pid(&id).await?;
    let broken = BrokenRunc::new(fixture.engine().folder())?;
    kill(shim_of(pid)?)?;
    let over = async {
        while fixture.truth().await?.alive.contains_key(&id) {}
        anyhow::Ok(())
    };
    timeout(LIMIT, over).await.context("the engine knows that it goes on")??;
    // What the engine reports of that arrives before this.
    fixture.fence(&watched).await?;
    let so_far = watched.recorder().record().count("exited");
    ensure!(so_far == 0, "an end was reported that did not come about\n{}", watched.recorder().tail());
    ensure!(watched.watching.portfolio().containers().any(|it| it.pid() == pid), "it is not shown");
    ensure!(watched.watching.status().counters.contradictions > 0, "the engine was not contradicted");
    drop(broken);
    kill(pid)?;
    watched.recorder().until_reported(1, "exited").await?;
    fixture.check(&watched).await?;
    is_reported(&reported.rest(), &[("goes-on", &["exited"])], watched.recorder())
}

/// Returns the parent of a container's initial process.
fn shim_of(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let parent =
        status.lines().find_map(|line| line.strip_prefix("PPid:")).context("no parent")?.trim().parse()?;
    let name = fs::read_to_string(format!("/proc/{parent}/comm"))?;
    ensure!(name.starts_with("containerd-shim"), "its parent is {name}");
    Ok(parent)
}
