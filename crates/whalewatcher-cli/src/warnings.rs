//! What is wrong with an engine that is watched all the same, on the standard error, once for as long as it lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use whalewatcher_core::{ChangeSource, ContainerId, Status, UnresolvedContainer, Watcher};

use crate::advice::place;
use crate::notes;
use crate::thread::spawn_detached;

/// How many containers are named at once.
const NAMED: usize = 10;

/// How many reasons are remembered of a container, so that it is not named again for each.
const REASONS: usize = 8;

/// Complains of these engines for as long as they are watched, in a thread of its own, since the standard error may block.
pub(crate) fn complain(watchers: Vec<Arc<dyn Watcher>>) -> anyhow::Result<()> {
    let runtime = Handle::current();
    spawn_detached("complaints", move || {
        runtime.block_on(join_all(watchers.into_iter().map(complain_of)));
    })
}

async fn complain_of(watcher: Arc<dyn Watcher>) {
    let (mut status, place) = (watcher.follow_status(), place(&*watcher));
    // A closed watcher can be dropped.
    drop(watcher);
    let mut complaints = Complaints::default();
    while let Some(status) = status.changed().await {
        for complaint in complaints.about(&status, &place) {
            notes::note(&format!("{place}: {complaint}"));
        }
    }
}

/// Names the first containers that cannot be inspected, and counts the others.
pub(crate) fn unresolved(status: &Status) -> Vec<String> {
    let containers = status.unresolved.containers().iter().take(NAMED);
    let mut all: Vec<_> = containers.map(cannot_be_inspected).collect();
    all.extend(more(status.unresolved.total() - all.len()));
    all
}

fn cannot_be_inspected(container: &UnresolvedContainer) -> String {
    format!("{} cannot be inspected: {}", named(&container.id, container.name.as_deref()), container.error)
}

fn more(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("and 1 more container cannot be inspected".to_owned()),
        _ => Some(format!("and {count} more containers cannot be inspected")),
    }
}

/// As in [`Container`](whalewatcher_core::Container)'s own text.
fn named(id: &ContainerId, name: Option<&str>) -> String {
    match name.filter(|name| *name != id.as_str()) {
        Some(name) => format!("container '{name}'/{}", id.as_str()),
        None => format!("container '{}'", id.as_str()),
    }
}

/// What was complained of so far.
#[derive(Default)]
struct Complaints {
    /// The parts of the engine that could not be listed.
    unlisted: Vec<String>,
    /// The containers that were named.
    unresolved: BTreeMap<ContainerId, Named>,
    /// More than these were counted.
    more: bool,
    source: ChangeSource,
}

/// A container that was named as one that cannot be inspected.
struct Named {
    name: Option<String>,
    reasons: BTreeSet<String>,
}

impl Complaints {
    /// Returns what is wrong now and was not before, and what is right again.
    fn about(&mut self, status: &Status, place: &str) -> Vec<String> {
        let parts = status.unlisted.iter().filter(|part| !self.unlisted.contains(&part.scope));
        let mut new: Vec<_> =
            parts.map(|part| format!("'{}' cannot be listed: {}", part.scope, part.error)).collect();
        self.unlisted = status.unlisted.iter().map(|part| part.scope.clone()).collect();
        // Without a connection the status has neither.
        if let Some(source) = status.source {
            new.extend(self.about_unresolved(status));
            if source != self.source {
                self.source = source;
                match source {
                    ChangeSource::Polling { every } => {
                        let every = every.as_secs_f32();
                        let why = status.fallback.as_ref().map(ToString::to_string);
                        let why = why.unwrap_or_else(|| "the engine sends no events".to_owned());
                        new.push(format!("{why}; polling every {every} s"));
                    }
                    // As good as events, so it is no complaint.
                    _ => tracing::info!("{place}: changes are learned of by {source}"),
                }
            }
        }
        new
    }

    fn about_unresolved(&mut self, status: &Status) -> Vec<String> {
        let mut new = Vec::new();
        let (now, total) = (status.unresolved.containers(), status.unresolved.total());
        // Where not all are named, those behind the last one may be unresolved or not; and each was inspected only when it is
        // live.
        let last = now.last().filter(|_| now.len() < total);
        self.unresolved.retain(|id, known| {
            let stays = !status.is_live()
                || now.binary_search_by(|one| one.id.cmp(id)).is_ok()
                || last.is_some_and(|last| *id > last.id);
            if !stays {
                new.push(format!("{} is resolved", named(id, known.name.as_deref())));
            }
            stays
        });
        for container in now {
            let reason = container.error.to_string();
            if let Some(known) = self.unresolved.get_mut(&container.id) {
                if known.reasons.len() < REASONS && known.reasons.insert(reason) {
                    new.push(cannot_be_inspected(container));
                }
            } else if self.unresolved.len() < NAMED {
                new.push(cannot_be_inspected(container));
                let named = Named { name: container.name.clone(), reasons: BTreeSet::from([reason]) };
                self.unresolved.insert(container.id.clone(), named);
            }
        }
        let others = total.saturating_sub(self.unresolved.len());
        if !self.more {
            new.extend(more(others));
        }
        self.more = others > 0;
        new
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use whalewatcher_core::Container;
    use whalewatcher_testkit::scripted::Engine;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn polling_is_complained_of_once_for_as_long_as_it_lasts() {
        let polling = |millis| ChangeSource::Polling { every: Duration::from_millis(millis) };
        let mut complaints = Complaints::default();
        let mut all = Vec::new();
        let sources = [
            ChangeSource::Events,
            polling(1_500),
            polling(1_500),
            ChangeSource::Hints,
            polling(1_500),
            polling(2_500),
        ];
        for source in sources {
            let watching = whalewatcher_core::watch(Engine::new().with_source(source));
            all.push(complaints.about(&watching.status(), "here"));
            watching.ready().await.unwrap();
            all.push(complaints.about(&watching.status(), "here"));
        }
        let all: Vec<_> = all.iter().map(|new| new.concat()).collect();
        let polled = |every: &str| format!("the engine sends no events; polling every {every} s");
        let (once, slower) = (polled("1.5"), polled("2.5"));
        assert_eq!(all, ["", "", "", &once, "", "", "", "", "", &once, "", &slower]);
    }

    #[tokio::test(start_paused = true)]
    async fn containers_are_named_once_while_they_cannot_be_inspected_and_when_they_can() {
        let engine = Engine::new();
        for nth in 10..22 {
            engine.start(Container::new(nth.to_string(), format!("c{nth}"), nth));
            engine.fail(&nth.to_string(), 2);
        }
        let watching = whalewatcher_core::watch(engine);
        let mut complaints = Complaints::default();
        let status = watching.ready().await.unwrap();
        let new = complaints.about(&status, "here");
        assert_eq!(new, unresolved(&status));
        assert_eq!(new.len(), 11, "{new:?}");
        assert!(new[0].starts_with("container 'c10'/10 cannot be inspected: "), "{new:?}");
        assert_eq!(new[10], "and 2 more containers cannot be inspected");
        assert_eq!(complaints.about(&status, "here"), [""; 0]);

        let resolved = |status: &Status| status.unresolved.is_empty();
        let status = watching.follow_status().wait_for(resolved).await.unwrap();
        let new = complaints.about(&status, "here");
        assert_eq!((new.len(), new[0].as_str()), (10, "container 'c10'/10 is resolved"));
    }
}
