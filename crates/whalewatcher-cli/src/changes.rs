//! The events of a fleet, with the crash loops that are found in them.

use std::collections::HashMap;
use std::future::pending;
use std::time::SystemTime;

use tokio::time::sleep;
use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio, FleetSubscription};
use whalewatcher_core::history::{History, HistorySettings};
use whalewatcher_core::{EngineKey, Event, EventKind, Fleet};

/// A subscription whose events include the crash loops, each after the exit with which it begins.
pub(crate) struct Changes {
    changes: FleetSubscription,
    history: History,
    /// An event of each engine, from which those of its crash loops are made.
    engines: HashMap<EngineKey, FleetEvent>,
    /// The next event: an engine leaves, and its crash loops are over before that.
    left: Option<FleetEvent>,
}

impl Changes {
    /// Returns a snapshot, and all changes after it. The settings say what a crash loop is.
    pub(crate) fn subscribe(fleet: &Fleet, settings: HistorySettings) -> (FleetPortfolio, Self) {
        let (now, changes) = fleet.subscribe();
        let mut history = History::new(settings);
        history.handle_snapshot(&now);
        (now, Self { changes, history, engines: HashMap::new(), left: None })
    }

    /// Returns the next event; `None` after the fleet was closed. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<FleetEvent> {
        loop {
            if let Some(found) = self.found() {
                return Some(found);
            }
            if let Some(left) = self.left.take() {
                self.engines.remove(&left.key);
                return Some(left);
            }
            let timeout = until(self.history.timeout());
            let change = tokio::select! {
                biased;
                change = self.changes.next() => change?,
                () = timeout => {
                    self.history.handle_timeout(SystemTime::now());
                    continue;
                }
            };
            self.take(&change);
            match change.event.kind {
                EventKind::Left => self.left = Some(change),
                _ => return Some(change),
            }
        }
    }

    /// Returns the next crash loop that began or is over.
    fn found(&mut self) -> Option<FleetEvent> {
        while let Some((key, event)) = self.history.poll_event() {
            if let Some(engine) = self.engines.get(&key) {
                let identity = engine.event.engine.clone();
                return Some(engine.with_event(event.with_engine(identity)));
            }
        }
        None
    }

    fn take(&mut self, change: &FleetEvent) {
        self.history.handle_event(&change.key, &change.event, SystemTime::now());
        let bare = || {
            let event = Event::new(change.event.time, EventKind::Joined);
            change.with_event(event.with_engine(change.event.engine.clone()))
        };
        let engine = self.engines.entry(change.key.clone()).or_insert_with(bare);
        engine.event.engine.clone_from(&change.event.engine);
        engine.revision = change.revision;
    }
}

/// Waits until the time at which a history has something to do, if it has.
pub(crate) async fn until(timeout: Option<SystemTime>) {
    match timeout {
        Some(at) => sleep(at.duration_since(SystemTime::now()).unwrap_or_default()).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use whalewatcher_core::{Container, EngineWatcher};
    use whalewatcher_testkit::scripted::Engine;

    use super::*;

    #[tokio::test]
    async fn a_crash_loop_follows_the_exit_with_which_it_begins_and_ends_with_its_engine() {
        let (fleet, engine) = (Fleet::new(), Engine::new());
        let (_, mut changes) = Changes::subscribe(&fleet, HistorySettings::default());
        let key = fleet.add(EngineWatcher::new(engine.clone())).unwrap().key();
        let mut seen = Vec::new();
        let mut next = async || {
            let change =
                tokio::time::timeout(Duration::from_secs(60), changes.next()).await.unwrap().unwrap();
            assert_eq!(change.key, key);
            change.event.kind.name()
        };
        while next().await != "synced" {}
        for pid in 1..=5 {
            engine.start(Container::new("1", "web", pid));
            while next().await != "started" {}
            engine.exit("1", Some(1));
            seen.push(next().await);
        }
        seen.push(next().await);
        fleet.remove(&key);
        seen.extend([next().await, next().await]);
        assert_eq!(
            seen,
            ["exited", "exited", "exited", "exited", "exited", "crash_loop", "crash_loop", "left"]
        );
    }
}
