//! Warnings about engines that are watched all the same, on the standard error: each once for as long as its
//! cause lasts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use whalewatcher_core::{ChangeSource, ContainerId, Fleet, Status, UnresolvedContainer, Watcher};
use whalewatcher_discover::FindingsFollower;

use crate::advice::{explain_finding, location};
use crate::notes;
use crate::thread::spawn_detached;

/// The most findings that are printed.
const FINDINGS: usize = 1_024;

/// The most containers that are named at once.
const NAMED: usize = 10;

/// The most reasons that are remembered of a container: a reason that comes back is not printed again.
const REASONS: usize = 8;

/// Takes the engines that are to be warned about.
pub(crate) struct Warned(UnboundedSender<Arc<dyn Watcher>>);

impl Warned {
    /// Prints warnings about this engine too, for as long as it is watched.
    pub(crate) fn warn_of(&self, watcher: Arc<dyn Watcher>) {
        let _ = self.0.send(watcher);
    }
}

/// Prints warnings about engines. A thread of its own does that, since the standard error may block.
pub(crate) fn spawn_warnings() -> anyhow::Result<Warned> {
    let runtime = Handle::current();
    let (sender, mut watchers) = unbounded_channel();
    spawn_detached("warnings", move || {
        runtime.block_on(async {
            let mut warned = FuturesUnordered::new();
            loop {
                tokio::select! {
                    watcher = watchers.recv() => match watcher {
                        Some(watcher) => warned.push(warn(watcher, notes::note)),
                        None => break,
                    },
                    Some(()) = warned.next() => {}
                }
            }
        });
    })?;
    Ok(Warned(sender))
}

/// Prints each engine once that was found and is not watched, and that none was found, or none that is
/// `selected`. In a thread of its own too.
pub(crate) fn spawn_findings(
    mut findings: FindingsFollower,
    fleet: Weak<Fleet>,
    selected: bool,
) -> anyhow::Result<()> {
    let runtime = Handle::current();
    spawn_detached("findings", move || {
        let mut noted = BTreeSet::new();
        let mut is_first = true;
        while let Some(found) = runtime.block_on(findings.changed()) {
            for finding in found.iter() {
                if noted.len() < FINDINGS && noted.insert(finding.clone()) {
                    notes::note(&explain_finding(finding));
                }
            }
            if std::mem::take(&mut is_first)
                && fleet.upgrade().is_some_and(|fleet| fleet.watchers().is_empty())
            {
                let engine = if selected { "engine that --engine selects" } else { "container engine" };
                notes::note(&format!("no {engine} was found; waiting for one"));
            }
        }
    })
}

/// Passes on warnings about an engine until it is closed.
async fn warn(watcher: Arc<dyn Watcher>, mut note: impl FnMut(&str)) {
    let (mut follower, location) = (watcher.follow_status(), location(&*watcher));
    // Keeps no watcher that is closed.
    drop(watcher);
    let mut warnings = Warnings::default();
    // The follower waits for changes only, and the engine may have been watched for a while.
    let mut status = Some(follower.status());
    while let Some(now) = status {
        for warning in warnings.update(&now, &location) {
            note(&format!("{location}: {warning}"));
        }
        status = follower.changed().await;
    }
}

/// Returns the first containers that cannot be inspected, and the number of the others.
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

/// Returns the text that [`Container`](whalewatcher_core::Container) displays, without PID.
fn named(id: &ContainerId, name: Option<&str>) -> String {
    match name.filter(|name| *name != id.as_str()) {
        Some(name) => format!("container '{name}'/{}", id.as_str()),
        None => format!("container '{}'", id.as_str()),
    }
}

/// The warnings about one engine so far.
#[derive(Default)]
struct Warnings {
    /// The unlisted scopes.
    unlisted: Vec<String>,
    /// The unresolved containers that were named.
    unresolved: BTreeMap<ContainerId, Named>,
    /// Whether further unresolved containers were counted.
    more: bool,
    source: ChangeSource,
}

/// An unresolved container that was named.
struct Named {
    name: Option<String>,
    reasons: BTreeSet<String>,
}

impl Warnings {
    /// Returns what has become wrong since the last status, and what has become right again.
    fn update(&mut self, status: &Status, location: &str) -> Vec<String> {
        let scopes = status.unlisted.iter().filter(|unlisted| !self.unlisted.contains(&unlisted.scope));
        let mut new: Vec<_> = scopes
            .map(|unlisted| format!("'{}' cannot be listed: {}", unlisted.scope, unlisted.error))
            .collect();
        self.unlisted = status.unlisted.iter().map(|unlisted| unlisted.scope.clone()).collect();
        // Without a connection the status has neither a source nor unresolved containers.
        if let Some(source) = status.source {
            new.extend(self.update_unresolved(status));
            if source != self.source {
                self.source = source;
                match source {
                    ChangeSource::Polling { every } => {
                        let every = every.as_secs_f32();
                        let reason = status.fallback.as_ref().map(ToString::to_string);
                        let reason = reason.unwrap_or_else(|| "the engine sends no events".to_owned());
                        new.push(format!("{reason}; polling every {every} s"));
                    }
                    // Not worse than events.
                    _ => tracing::info!(%location, %source, "source of changes"),
                }
            }
        }
        new
    }

    fn update_unresolved(&mut self, status: &Status) -> Vec<String> {
        let mut new = Vec::new();
        let (now, total) = (status.unresolved.containers(), status.unresolved.total());
        // The status names the first containers by ID: of those behind the last one it is unknown whether
        // they are unresolved. Before the watch is live, not all have been inspected.
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

    use whalewatcher_core::{Container, EngineWatcher};
    use whalewatcher_testkit::scripted::Engine;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn polling_is_reported_once_for_as_long_as_it_lasts() {
        let polling = |millis| ChangeSource::Polling { every: Duration::from_millis(millis) };
        let mut warnings = Warnings::default();
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
            all.push(warnings.update(&watching.status(), "here"));
            watching.ready().await.unwrap();
            all.push(warnings.update(&watching.status(), "here"));
        }
        let all: Vec<_> = all.iter().map(|new| new.concat()).collect();
        let polled = |every: &str| format!("the engine sends no events; polling every {every} s");
        let (once, slower) = (polled("1.5"), polled("2.5"));
        assert_eq!(all, ["", "", "", &once, "", "", "", "", "", &once, "", &slower]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_wrong_before_is_reported_too() {
        let (fleet, engine) = (Fleet::new(), Engine::new());
        engine.start(Container::new("1", "web", 1));
        engine.fail("1", usize::MAX);
        let watcher = fleet.add(EngineWatcher::new(engine)).unwrap();
        watcher.ready().await.unwrap();
        let (sender, mut notes) = unbounded_channel();
        tokio::spawn(warn(watcher, move |note| drop(sender.send(note.to_owned()))));
        let note = notes.recv().await.unwrap();
        assert!(note.contains("container 'web'/1 cannot be inspected: "), "{note}");
    }

    #[tokio::test(start_paused = true)]
    async fn unresolved_containers_are_named_once_and_again_when_resolved() {
        let engine = Engine::new();
        for nth in 10..22 {
            engine.start(Container::new(nth.to_string(), format!("c{nth}"), nth));
            engine.fail(&nth.to_string(), 2);
        }
        let watching = whalewatcher_core::watch(engine);
        let mut warnings = Warnings::default();
        let status = watching.ready().await.unwrap();
        let new = warnings.update(&status, "here");
        assert_eq!(new, unresolved(&status));
        assert_eq!(new.len(), 11, "{new:?}");
        assert!(new[0].starts_with("container 'c10'/10 cannot be inspected: "), "{new:?}");
        assert_eq!(new[10], "and 2 more containers cannot be inspected");
        assert_eq!(warnings.update(&status, "here"), [""; 0]);

        let resolved = |status: &Status| status.unresolved.is_empty();
        let status = watching.follow_status().wait_for(resolved).await.unwrap();
        let new = warnings.update(&status, "here");
        assert_eq!((new.len(), new[0].as_str()), (10, "container 'c10'/10 is resolved"));
    }
}
