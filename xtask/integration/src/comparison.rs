//! What must hold after every scenario, on every engine.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, timeout_at};
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{Container, Counters, Portfolio};
use whalewatcher_host::owner_of;

use crate::fixture::Fixture;
use crate::recorder::{LIMIT, Recorder};
use crate::sequence::sequence;
use crate::truth::Truth;
use crate::watched::{Watched, Way};

/// For how long nothing is announced when all has come to rest. That nothing comes can only be waited for.
const QUIET: Duration = Duration::from_millis(100);

/// What went wrong on the way to the right picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    resyncs: u64,
    pub(crate) drifted: u64,
    pub(crate) malformed: u64,
    pub(crate) retries: u64,
}

impl Trouble {
    pub(crate) fn of<C: EngineClient>(watched: &Watched<C>) -> Trouble {
        let Counters { resyncs, drifted, malformed, retries, .. } = watched.watching.status().counters;
        Trouble { resyncs, drifted, malformed, retries }
    }
}

/// Checks everything, once the engine is quiet and no more fault is at work, and returns the truth.
pub(crate) async fn check<F: Fixture>(fixture: &F, watched: &Watched<F::Client>) -> Result<Truth> {
    if watched.way == Way::Faulty {
        recovered(fixture, watched).await?;
    }
    let (truth, trouble) = settled(fixture, watched).await?;
    let status = watched.watching.status();
    ensure!(status.is_live(), "the watcher is not live: {status}");
    let now = Trouble::of(watched);
    let is_allowed = match watched.way {
        Way::Clear | Way::Cut => {
            (now.drifted, now.malformed) == (0, 0) && (now.retries == 0 || F::FAILS_INSPECTIONS)
        }
        Way::Faulty => now == trouble,
    };
    ensure!(is_allowed, "something went wrong on the way to the right picture: {now:?}");
    for recorder in &watched.recorders {
        recorder.hurry();
        let portfolio = watched.watching.portfolio();
        recorder.until("its events add up to the portfolio", |record| record.fold == portfolio).await?;
        let record = recorder.record().clone();
        with_events(sequence(&record, watched.way), recorder)?;
    }
    Ok(truth)
}

pub(crate) fn with_events(result: Result<()>, recorder: &Recorder) -> Result<()> {
    result.map_err(|error| error.context(recorder.tail()))
}

/// Waits until the connection is healthy again: the fence arrives by an event, and nothing is repaired meanwhile.
async fn recovered<F: Fixture>(fixture: &F, watched: &Watched<F::Client>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut status = watched.watching.follow_status();
        let healthy = status.wait_for(|status| status.is_live() && status.unresolved.is_empty());
        if timeout_at(deadline, healthy).await.is_err() {
            bail!("it does not recover: {}\n{}", watched.watching.status(), watched.recorder().tail());
        }
        let before = Trouble::of(watched);
        fixture.fence(watched).await?;
        if Trouble::of(watched) == before {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it does not come to rest: {:?}", Trouble::of(watched));
    }
}

/// Waits until the picture is what the engine says, and stays so while nothing more is announced for a while.
/// Returns what the engine said, and what had gone wrong by then. The engine is a moment ahead, and on a busy
/// machine events of what is over already may come after the picture looks right; whether they make sense is
/// checked by [`sequence`].
async fn settled<F: Fixture>(fixture: &F, watched: &Watched<F::Client>) -> Result<(Truth, Trouble)> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (reported, trouble) = (watched.recorder().len(), Trouble::of(watched));
        let mut wrong = fixture.truth().await?.differences(&watched.watching.portfolio());
        wrong.extend(block_in_place(|| not_found_by_process(&watched.watching.portfolio())));
        if wrong.is_empty() {
            sleep(QUIET).await;
            let truth = fixture.truth().await?;
            wrong = truth.differences(&watched.watching.portfolio());
            if wrong.is_empty() && (watched.recorder().len(), Trouble::of(watched)) == (reported, trouble) {
                return Ok((truth, trouble));
            }
        } else {
            watched.recorder().next_within(Duration::from_millis(50)).await;
        }
        if Instant::now() > deadline {
            let wrong =
                if wrong.is_empty() { "nothing, but events go on".to_owned() } else { wrong.join("\n    ") };
            bail!("the portfolio is not what the engine says:\n    {wrong}\n{}", watched.recorder().tail());
        }
    }
}

/// Lists the containers that are not found as owners of their initial processes.
fn not_found_by_process(portfolio: &Portfolio) -> Vec<String> {
    let failure = |container: &Arc<Container>| {
        let (name, pid) = (container.name(), container.pid());
        match owner_of(pid, [portfolio]) {
            Ok(Some(owner)) if owner.container.id() == container.id() => None,
            Ok(owner) => Some(format!("process {pid} of '{name}' is said to belong to {owner:?}")),
            Err(error) => Some(format!("process {pid} of '{name}': {error}")),
        }
    };
    portfolio.containers().filter_map(failure).collect()
}
