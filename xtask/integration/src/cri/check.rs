//! What CRI says, to compare pictures with, and what has to hold beyond that.

use std::collections::HashSet;

use anyhow::{Result, bail, ensure};
use whalewatcher_core::{ChangeSource, EventKind};

use super::fixture::{CriFixture, Watched};
use crate::comparison::{self, with_events};
use crate::recorder::Record;
use crate::truth::Truth;
use crate::watched::Way;

/// Checks everything of a watcher that learns of changes by this, once the engine is quiet and no fault is active.
pub(super) async fn check_by(fixture: &CriFixture, watched: &Watched, expected: ChangeSource) -> Result<()> {
    let truth = comparison::check(fixture, watched).await?;
    let source = watched.watching.status().source;
    ensure!(source == Some(expected), "changes are learned of by {source:?}");
    for recorder in &watched.recorders {
        let record = recorder.record().clone();
        with_events(one_life_each(&record).and_then(|()| ends(&record, &truth, watched.way)), recorder)?;
    }
    Ok(())
}

/// A container that is restarted is another one: each ID begins once and ends once.
fn one_life_each(record: &Record) -> Result<()> {
    let joined = record.joined.containers().map(|container| container.id().clone());
    let (mut begun, mut ended): (HashSet<_>, HashSet<_>) = (joined.collect(), HashSet::new());
    for (index, event) in record.events.iter().enumerate() {
        let is_new = match &event.kind {
            EventKind::Started(container) => begun.insert(container.id().clone()),
            EventKind::Exited { container, .. } => ended.insert(container.id().clone()),
            EventKind::Paused(_) | EventKind::Unpaused(_) => {
                bail!("event {index}, {event}: CRI knows no pause")
            }
            _ => true,
        };
        ensure!(is_new, "event {index}, {event}: that was reported before");
    }
    Ok(())
}

/// Checks that exits are as the engine remembers them. A killed containerd does not remember all.
fn ends(record: &Record, truth: &Truth, way: Way) -> Result<()> {
    for (index, event) in record.events.iter().enumerate() {
        let EventKind::Exited { container, code } = &event.kind else { continue };
        let Some(ended) = truth.lives.get(&**container.id()).filter(|_| way == Way::Clear) else { continue };
        let of = || format!("event {index}, {event} at {:?}: the engine says {ended:?}", event.time);
        ensure!(code.is_none_or(|code| Some(i64::from(code)) == ended.exit_code), of());
        ensure!(Some(event.time) >= ended.finished_at, of());
    }
    Ok(())
}
