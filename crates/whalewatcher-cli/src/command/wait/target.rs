//! What has been seen of the containers with one name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio};
use whalewatcher_core::{Container, ContainerId, EngineKey, EventKind, Health};

use crate::args::State;
use crate::selection::{Pattern, Selection, is_named};

/// A container of an engine.
pub(super) type Key = (EngineKey, ContainerId);

/// What was awaited and has been seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) state: State,
    /// The exit code of an exit; `None` if it is unknown.
    pub(super) code: Option<i32>,
}

/// What is known of the engines as a whole.
#[derive(Clone, Copy)]
pub(super) struct Knowledge {
    /// All engines that can be reached have been listed.
    pub(super) is_listed: bool,
    /// Nothing that may be alive and has this name is unknown.
    pub(super) is_complete: bool,
}

/// The containers with one name, or with names that match.
pub(super) struct Target {
    pub(super) name: Pattern,
    selection: Selection,
    state: State,
    /// One container is enough.
    any: bool,
    /// Those whose exit is awaited.
    awaited: BTreeSet<Key>,
    /// Those that have exited once: another life of them is not awaited.
    exited: BTreeSet<Key>,
    /// Those that were alive on an engine that has left, and may still be, with their names.
    lost: BTreeMap<Key, String>,
    pub(super) is_met: bool,
}

impl Target {
    pub(super) fn new(name: Pattern, selection: Selection, state: State, any: bool) -> Self {
        Self {
            name,
            selection,
            state,
            any,
            awaited: BTreeSet::new(),
            exited: BTreeSet::new(),
            lost: BTreeMap::new(),
            is_met: false,
        }
    }

    /// Returns whether this container is meant.
    fn matches(&self, change: &FleetEvent, container: &Container) -> bool {
        is_named(container, &self.name) && self.selection.matches(&*change.watcher, container)
    }

    /// Returns whether nothing of it was alive so far.
    pub(super) fn is_unseen(&self) -> bool {
        self.awaited.is_empty() && self.exited.is_empty() && self.lost.is_empty()
    }

    /// Returns the containers that may be alive on engines that have left.
    pub(super) fn lost(&self) -> impl Iterator<Item = &Key> {
        self.lost.keys()
    }

    /// Returns their names.
    pub(super) fn lost_names(&self) -> impl Iterator<Item = &str> {
        self.lost.values().map(String::as_str)
    }

    /// Takes an event. `is_leaving` says that the engine leaves the fleet with it, so that exits without a
    /// code are none.
    ///
    /// Returns an exit that is awaited.
    pub(super) fn handle(&mut self, change: &FleetEvent, is_leaving: bool) -> Option<Seen> {
        let container = change.event.container()?;
        let key = (change.key.clone(), container.id().clone());
        if let EventKind::Exited { code, .. } = change.event.kind {
            let is_awaited = self.awaited.contains(&key) || self.matches(change, container);
            if !is_awaited {
                return None;
            }
            if is_leaving && code.is_none() {
                self.lost.insert(key, container.name().to_owned());
                return None;
            }
            return self.handle_exit(key, container.name(), code);
        }
        if let EventKind::Moved { was, from, .. } = &change.event.kind {
            let before = (from.clone(), was.id().clone());
            for set in [&mut self.awaited, &mut self.exited] {
                if set.remove(&before) {
                    set.insert(key.clone());
                }
            }
            self.lost.remove(&before);
        }
        self.lost.remove(&key);
        if self.matches(change, container) && !self.exited.contains(&key) {
            self.awaited.insert(key);
        }
        None
    }

    fn handle_exit(&mut self, key: Key, name: &str, code: Option<i32>) -> Option<Seen> {
        self.awaited.remove(&key);
        self.lost.remove(&key);
        let is_new = self.exited.insert(key);
        let seen = Seen { name: name.to_owned(), state: State::Exited, code };
        (is_new && self.state == State::Exited && !self.is_met).then_some(seen)
    }

    /// Takes that a lost container has been found to be over.
    pub(super) fn handle_loss(&mut self, key: &Key) -> Option<Seen> {
        let name = self.lost.remove(key)?;
        self.handle_exit(key.clone(), &name, None)
    }

    /// Returns what has been seen if the state is reached now; exits were returned before.
    pub(super) fn evaluate(&mut self, alive: &FleetPortfolio, knowledge: Knowledge) -> Vec<Seen> {
        if self.is_met {
            return Vec::new();
        }
        let seen = |name: &str| Seen { name: name.to_owned(), state: self.state, code: None };
        let matching: Vec<&Arc<Container>> = alive
            .containers()
            .filter(|(member, container)| {
                is_named(container, &self.name) && self.selection.matches(&**member.watcher(), container)
            })
            .map(|(_, container)| container)
            .collect();
        let (is_met, all) = match self.state {
            // A life that began and has ended since counts too.
            State::Started if matching.is_empty() && !self.exited.is_empty() => {
                (true, vec![seen(self.name.text())])
            }
            State::Started => (!matching.is_empty(), matching.iter().map(|one| seen(one.name())).collect()),
            State::Exited => {
                let is_over = self.any || knowledge.is_listed && self.awaited.is_empty();
                (is_over && !self.exited.is_empty(), Vec::new())
            }
            State::Healthy => {
                let (healthy, others): (Vec<&Arc<Container>>, Vec<_>) =
                    matching.iter().partition(|one| one.health() == Some(Health::Healthy));
                let is_enough =
                    self.any || !self.name.has_wildcards() || knowledge.is_listed && others.is_empty();
                (is_enough && !healthy.is_empty(), healthy.iter().map(|one| seen(one.name())).collect())
            }
            State::Gone => {
                let is_gone = knowledge.is_complete && matching.is_empty() && self.lost.is_empty();
                (is_gone, vec![seen(self.name.text())])
            }
        };
        self.is_met = is_met;
        if is_met { all } else { Vec::new() }
    }
}
