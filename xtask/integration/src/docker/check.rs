//! What must hold on Docker, beyond what must hold on every engine.

use std::collections::HashMap;
use std::time::SystemTime;

use anyhow::{Result, ensure};
use whalewatcher_core::{ContainerId, Event, EventKind};
use whalewatcher_moby::Client;

use crate::comparison::{self, with_events};
use crate::docker::fixture::DockerFixture;
use crate::fixture::Fixture as _;
use crate::recorder::Record;
use crate::sequence::{history, is_taken_back};
use crate::truth::Truth;
use crate::watched::{Watched, Way};

/// Checks everything, once the engine is quiet and no fault is active.
pub(crate) async fn check(fixture: &DockerFixture, watched: &Watched<Client>) -> Result<()> {
    // dockerd answers no inspection of a container whose exit it is about to report: afterwards, all exits
    // are reported.
    fixture.truth().await?;
    if watched.way != Way::Faulty {
        fixture.fence(watched).await?;
    }
    let truth = comparison::check(fixture, watched).await?;
    let resyncs = watched.watching.status().counters.resyncs;
    ensure!(watched.way != Way::Clear || resyncs == 1, "{resyncs} resyncs on a connection that lasted");
    for recorder in &watched.recorders {
        let record = recorder.record().clone();
        with_events(times(fixture, &record, &truth, watched.way), recorder)?;
    }
    Ok(())
}

/// Times are the engine's, and in order.
fn times(fixture: &DockerFixture, record: &Record, truth: &Truth, way: Way) -> Result<()> {
    if record.events.iter().any(|event| matches!(event.kind, EventKind::Lagged { .. })) {
        // A difference is dated when it is delivered.
        return Ok(());
    }
    let mut last: HashMap<&ContainerId, &Event> = HashMap::new();
    for event in &record.events {
        ensure!(
            event.time >= fixture.shared().began && event.time <= SystemTime::now(),
            "{event} is not of this run: {:?}",
            event.time
        );
        let Some(container) = event.container() else { continue };
        let former = last.insert(container.id(), event);
        if let EventKind::Started(container) = &event.kind {
            let taken_back = former.is_some_and(|former| way == Way::Cut && is_taken_back(former, container));
            let dated = container.started_at() == Some(event.time);
            ensure!(
                dated || taken_back,
                "{event} is not of its life's beginning:{}",
                history(&record.events, event)
            );
        }
        // What comes late, or is seen by a list only, is noticed late and dated then, when the next life may
        // have begun.
        if let Some(former) = former.filter(|_| way == Way::Clear) {
            ensure!(former.time <= event.time, "{event} is dated before {former}");
        }
    }
    if way != Way::Clear {
        return Ok(());
    }
    let exits = || record.events.iter().filter(|event| matches!(event.kind, EventKind::Exited { .. }));
    let early = exits().filter(|event| matches!(event.kind, EventKind::Exited { code: None, .. })).count();
    if early > 0 {
        fixture.figure(format!("{early} of {} exits were reported without their codes", exits().count()));
    }
    for (id, event) in last {
        let (Some(inspected), Some(container)) = (truth.lives.get(&**id), event.container()) else {
            continue;
        };
        // Of a life that was never inspected only the event of its start is known, which is dated a moment later.
        let is_right = match container.pid() {
            0 => container.started_at() >= inspected.started_at,
            _ => container.started_at() == inspected.started_at,
        };
        ensure!(is_right, "{event}: the engine says it started at {:?}", inspected.started_at);
        let EventKind::Exited { code, .. } = &event.kind else { continue };
        ensure!(
            Some(event.time) >= inspected.finished_at,
            "{event} at {:?}: the engine says it ended at {:?}",
            event.time,
            inspected.finished_at
        );
        // An inspection in flight may show the end before its event, but without the code.
        let Some(code) = code.map(i64::from) else { continue };
        ensure!(Some(code) == inspected.exit_code, "{event}: the engine says {:?}", inspected.exit_code);
        let mut ends = truth.ends.iter().filter(|end| end.id == **id).peekable();
        ensure!(
            ends.peek().is_none() || ends.any(|end| (end.at, end.code) == (event.time, code)),
            "{event} at {:?}: the engine reported otherwise",
            event.time
        );
    }
    Ok(())
}
