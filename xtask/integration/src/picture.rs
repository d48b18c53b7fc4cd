//! What has to hold after every scenario on an engine that can be asked for all that is alive.

use std::collections::BTreeMap;
use std::fmt::Debug;

use anyhow::{Result, ensure};
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{Container, Portfolio};

use crate::check::{Trouble, recovered, sequence, settled, with_events};
use crate::watched::{Watched, Way};

/// An engine as others see it.
pub(crate) trait Reality<C: EngineClient> {
    /// Whether it may fail to answer an inspection that is then repeated.
    const FAILS_INSPECTIONS: bool = false;

    /// What it says is alive. It is the truth if the engine is quiet.
    type Truth;

    /// Asks for it.
    async fn ask(&self) -> Result<Self::Truth>;

    /// What is different in a portfolio, a line each.
    fn differences(truth: &Self::Truth, portfolio: &Portfolio) -> Vec<String>;

    /// Shows that events come to this watcher.
    async fn fence(&self, watched: &Watched<C>) -> Result<()>;
}

/// Checks everything, once the engine is quiet and no more fault is at work, and returns the truth.
pub(crate) async fn check<C: EngineClient, R: Reality<C>>(
    reality: &R,
    watched: &Watched<C>,
) -> Result<R::Truth> {
    if watched.way == Way::Faulty {
        recovered(watched, async || reality.fence(watched).await).await?;
    }
    let ask = async || reality.ask().await;
    let (truth, trouble) = settled(watched, ask, R::differences).await?;
    let status = watched.watching.status();
    ensure!(status.is_live(), "the watcher is not live: {status}");
    let now = Trouble::of(watched);
    let is_allowed = match watched.way {
        Way::Clear | Way::Cut => {
            (now.drifted, now.malformed) == (0, 0) && (now.retries == 0 || R::FAILS_INSPECTIONS)
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

/// What is different in a portfolio from what is alive, by its ID, a line each.
pub(crate) fn differences<A>(alive: &BTreeMap<String, A>, portfolio: &Portfolio) -> Vec<String>
where
    A: for<'a> From<&'a Container> + PartialEq + Debug,
{
    let seen: BTreeMap<&str, &Container> =
        portfolio.containers().map(|container| (&**container.id(), &**container)).collect();
    let mut lines = Vec::new();
    for (id, alive) in alive {
        let Some(seen) = seen.get(id.as_str()) else {
            lines.push(format!("{id}: alive, but not in the portfolio: {alive:?}"));
            continue;
        };
        let as_seen = A::from(seen);
        if as_seen != *alive {
            lines.push(format!("{id}:\n      engine    {alive:?}\n      portfolio {as_seen:?}"));
        }
        let by_project = portfolio.project(seen.project());
        if by_project.is_none_or(|project| project.containers().all(|other| &**other.id() != id)) {
            lines.push(format!("{id}: not found in project '{}'", seen.project()));
        }
    }
    for (id, seen) in seen.iter().filter(|(id, _)| !alive.contains_key(**id)) {
        lines.push(format!("{id}: in the portfolio, but not alive: {:?}", A::from(seen)));
    }
    if portfolio.total() != alive.len() {
        lines.push(format!("{} are alive, but the portfolio counts {}", alive.len(), portfolio.total()));
    }
    lines
}
