//! Whether a subscriber's events make sense one after the other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use whalewatcher_core::{Container, ContainerId, Event, EventKind};

use crate::recorder::Record;
use crate::watched::Way;

/// Each container's events make sense, one after the other.
pub(crate) fn sequence(record: &Record, way: Way) -> Result<()> {
    let mut known: HashMap<ContainerId, Arc<Container>> =
        record.joined.containers().map(|container| (container.id().clone(), container.clone())).collect();
    let mut begun: HashSet<_> = known.values().map(|container| container.life()).collect();
    let mut ended: HashMap<_, &Event> = HashMap::new();
    let (mut synced, mut disconnected, mut lagged) = (0, 0, 0);
    for (index, event) in record.events.iter().enumerate() {
        let before = event.container().and_then(|container| known.get(container.id()).cloned());
        let wrong = |why: &str| {
            let reported = history(&record.events[..=index], event);
            format!("event {index}, {event}: {why}; known was {before:?}; reported of it was:{reported}")
        };
        match &event.kind {
            EventKind::Started(container) => {
                ensure!(before.is_none(), wrong("started, but was alive"));
                if !begun.insert(container.life()) {
                    let exit = ended.remove(&container.life());
                    let taken_back = exit.is_some_and(|exit| is_taken_back(exit, container));
                    ensure!(way == Way::Cut && taken_back, wrong("this life was started before"));
                }
                known.insert(container.id().clone(), container.clone());
            }
            EventKind::Exited { container, .. } => {
                let Some(before) = &before else { bail!(wrong("exited, but was not alive")) };
                // Engines may report an OOM kill with the exit only.
                let as_known = match container.oom_killed() {
                    true => {
                        before.as_ref() == &Container::clone(container).with_oom_killed(before.oom_killed())
                    }
                    false => before == container,
                };
                ensure!(as_known, wrong("it exited otherwise than it was known"));
                ensure!(
                    ended.insert(container.life(), event).is_none(),
                    wrong("this life has exited before")
                );
                known.remove(container.id());
            }
            EventKind::Paused(container)
            | EventKind::Unpaused(container)
            | EventKind::Updated { container, .. } => {
                let Some(before) = &before else { bail!(wrong("it was not alive")) };
                ensure!(before.life() == container.life(), wrong("it is another life"));
                let paused = match event.kind {
                    EventKind::Paused(_) => (false, true),
                    EventKind::Unpaused(_) => (true, false),
                    _ => (before.paused(), before.paused()),
                };
                ensure!((before.paused(), container.paused()) == paused, wrong("paused or not does not fit"));
                ensure!(before != container, wrong("nothing changed"));
                known.insert(container.id().clone(), container.clone());
            }
            EventKind::Synced { containers, .. } => {
                synced += 1;
                ensure!(*containers == known.len(), wrong(&format!("{} are known", known.len())));
            }
            EventKind::Disconnected { .. } => {
                disconnected += 1;
                ensure!(way != Way::Clear, wrong("the connection was not cut"));
            }
            EventKind::Lagged { .. } => lagged += 1,
            _ => {}
        }
    }
    // A subscriber that lags receives `synced` again, but no `disconnected` before.
    ensure!(
        synced <= disconnected + lagged + 1,
        "{synced} times in sync, but {disconnected} times disconnected"
    );
    Ok(())
}

/// Whether the exit is dated after the beginning of the life that is then reported to have started. dockerd
/// emits such an exit, and then a start, of a life that goes on: if dockerd is killed together with a
/// container and then starts the container again, it can attribute the exit of the former life to the new
/// one.
pub(crate) fn is_taken_back(exit: &Event, started: &Container) -> bool {
    let EventKind::Exited { code, .. } = &exit.kind else { return false };
    code.is_some() && started.started_at().is_some_and(|began| began < exit.time)
}

/// Lists the events of a container up to this one, a line each.
pub(crate) fn history(events: &[Event], event: &Event) -> String {
    let of = |event: &Event| event.container().map(|container| container.id().clone());
    let same = events.iter().enumerate().filter(|(_, other)| of(other) == of(event));
    same.map(|(index, other)| format!("\n    {index:4} {:?} {other}", other.time)).collect()
}
