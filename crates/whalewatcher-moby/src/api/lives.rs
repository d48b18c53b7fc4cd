//! The lives that a client knows, from one connection to the next, so that the exits in between can be reported.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use whalewatcher_core::adapter::{EngineEvent, ListingEntry};
use whalewatcher_core::{Container, ContainerId};

use crate::api::clock::SLACK;

/// The containers that were alive when last seen. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lives(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    engine: String,
    /// How many connections there were.
    connections: u64,
    lives: HashMap<ContainerId, Life>,
    /// The containers that are being inspected, with the newest exit of each that was reported meanwhile.
    inspected: HashMap<ContainerId, Option<SystemTime>>,
    newest: Option<NewestEvent>,
}

/// The newest event of an engine: the connection on which it came, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewestEvent {
    pub(crate) connection: u64,
    pub(crate) at: SystemTime,
}

/// A life of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) pid: u32,
    pub(crate) began: SystemTime,
    /// The connection on which it was seen last.
    pub(crate) connection: u64,
    /// Whether it has a healthcheck.
    pub(crate) has_health: bool,
}

impl Lives {
    fn locked(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a new connection. Forgets the lives of any other engine.
    pub(crate) fn record_connection(&self, engine: &str) {
        let known = &mut *self.locked();
        known.connections += 1;
        if known.engine != engine {
            *known = Known { engine: engine.to_owned(), connections: known.connections, ..Known::default() };
        }
    }

    /// Records lives that a list shows entirely.
    pub(crate) fn record_listed(&self, entries: &[ListingEntry]) {
        let known = &mut *self.locked();
        for entry in entries {
            let ListingEntry::Whole(container) = entry else { continue };
            let (pid, has_health) = (container.pid(), container.health().is_some());
            if let Some(began) = container.started_at() {
                let life = Life { pid, began, connection: known.connections, has_health };
                known.lives.insert(container.id().clone(), life);
            }
        }
    }

    /// Records that an inspection begins.
    pub(crate) fn begin_inspection<'a>(&'a self, id: &'a ContainerId) -> InspectionGuard<'a> {
        self.locked().inspected.insert(id.clone(), None);
        InspectionGuard { lives: self, id }
    }

    /// Records an event of the event stream. Returns another one that it leads to.
    pub(crate) fn record_event(&self, event: &EngineEvent) -> Option<EngineEvent> {
        let known = &mut *self.locked();
        if let Some(at) = event.at()
            && known.newest.is_none_or(|newest| newest.at <= at)
        {
            known.newest = Some(NewestEvent { connection: known.connections, at });
        }
        if let EngineEvent::Exited { id, at, .. } = event {
            if let Some(ended) = known.inspected.get_mut(id) {
                *ended = (*ended).max(*at);
            }
            if known.lives.get(id).is_some_and(|life| at.is_none_or(|at| at > life.began)) {
                known.lives.remove(id);
            }
        }
        match event {
            // dockerd ends the healthcheck meanwhile. That makes the container unhealthy, without an event,
            // until the first probe after its end.
            EngineEvent::Paused { id, at } if known.lives.get(id).is_some_and(|life| life.has_health) => {
                Some(EngineEvent::Changed { id: id.clone(), at: *at })
            }
            _ => None,
        }
    }

    /// Forgets the lives that a list made at that time should contain and does not.
    pub(crate) fn retain_listed(&self, entries: &[ListingEntry], now: Option<SystemTime>) {
        let Some(before) = now.and_then(|now| now.checked_sub(SLACK)) else { return };
        let listed: HashSet<_> = entries.iter().map(|entry| entry.container().id()).collect();
        self.locked().lives.retain(|id, life| life.began >= before || listed.contains(id));
    }

    /// Returns the lives that are known now, and the engine's newest event.
    pub(crate) fn known(&self) -> (HashMap<ContainerId, Life>, Option<NewestEvent>) {
        let known = self.locked();
        (known.lives.clone(), known.newest)
    }

    /// Forgets these lives.
    pub(crate) fn forget(&self, lives: &HashMap<ContainerId, Life>) {
        self.locked().lives.retain(|id, life| lives.get(id) != Some(life));
    }
}

/// An inspection that is in flight, until it is dropped.
pub(crate) struct InspectionGuard<'a> {
    lives: &'a Lives,
    id: &'a ContainerId,
}

impl InspectionGuard<'_> {
    /// Records the answer. A life whose exit was reported meanwhile is over.
    pub(crate) fn record_answer(self, container: Option<&Container>) {
        let known = &mut *self.lives.locked();
        let ended = known.inspected.get(self.id).copied().flatten();
        let alive = container.filter(|container| container.pid() != 0);
        let alive = alive.and_then(|container| Some((container, container.started_at()?)));
        match alive.filter(|(_, began)| ended.is_none_or(|ended| ended <= *began)) {
            Some((container, began)) => {
                let (pid, has_health) = (container.pid(), container.health().is_some());
                let life = Life { pid, began, connection: known.connections, has_health };
                known.lives.insert(self.id.clone(), life);
            }
            None => _ = known.lives.remove(self.id),
        }
    }
}

impl Drop for InspectionGuard<'_> {
    fn drop(&mut self) {
        self.lives.locked().inspected.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use whalewatcher_core::Health;

    use super::*;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn exited(id: &str, second: u64) -> EngineEvent {
        EngineEvent::Exited { id: id.into(), pid: None, at: Some(at(second)), code: Some(7) }
    }

    #[test]
    fn a_life_is_known_until_its_own_exit() {
        let (lives, now) = (Lives::default(), Some(at(200)));
        let alive = |id: &str, second| Container::new(id, id, 1).with_started_at(Some(at(second)));
        let inspected = |id: &str, container: Option<&Container>| {
            lives.begin_inspection(&id.into()).record_answer(container);
        };
        let known = || {
            let mut ids: Vec<_> = lives.locked().lives.keys().map(ToString::to_string).collect();
            ids.sort();
            ids.join(" ")
        };
        lives.record_connection("engine");
        for (id, second) in [("a", 100), ("b", 100), ("c", 100), ("new", 199)] {
            inspected(id, Some(&alive(id, second)));
        }
        inspected("unknown-start", Some(&Container::new("unknown-start", "", 1)));
        inspected("over", Some(&Container::new("over", "", 0).with_started_at(at(100))));
        lives.record_event(&exited("a", 100));
        assert_eq!(known(), "a b c new");
        lives.record_event(&exited("a", 101));
        inspected("b", None);
        let newest = NewestEvent { connection: 1, at: at(101) };
        assert_eq!((known(), lives.locked().newest), ("c new".to_owned(), Some(newest)));
        lives.retain_listed(&[], None);
        assert_eq!(known(), "c new");
        lives.retain_listed(&[], now);
        assert_eq!(known(), "new", "the list may be older than the life");
        let id = "new".into();
        for (end, expected) in [(198, "new"), (199, "new"), (200, "")] {
            let inspecting = lives.begin_inspection(&id);
            lives.record_event(&exited("new", end));
            inspecting.record_answer(Some(&alive("new", 199)));
            assert_eq!(known(), expected, "an exit at {end} came before the answer");
        }
        drop(lives.begin_inspection(&id));
        assert!(lives.locked().inspected.is_empty());
        inspected("new", Some(&alive("new", 199)));
        let paused = EngineEvent::Paused { id: id.clone(), at: Some(at(300)) };
        assert_eq!(lives.record_event(&paused), None);
        inspected("new", Some(&alive("new", 199).with_health(Health::Healthy)));
        let changed = EngineEvent::Changed { id, at: Some(at(300)) };
        assert_eq!(lives.record_event(&paused), Some(changed), "its health may have changed");
        lives.record_connection("another");
        assert_eq!((known(), lives.locked().newest), (String::new(), None));
    }
}
