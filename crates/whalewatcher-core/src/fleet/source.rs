//! A member of a fleet as its engine has it, and which of its containers others show.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Container, ContainerId, EngineKey, Layer, Life};
use crate::portfolio::Portfolio;
use crate::watch::Watcher;

/// How long a start in another engine's scope waits for that engine to report it, which knows more about it.
const PATIENCE: Duration = Duration::from_secs(3);

/// The most scopes that are remembered of an engine.
const SCOPES: usize = 8;

/// A member, as it is: with the containers that others show, too.
pub(super) struct Source {
    pub(super) layer: Layer,
    pub(super) host: String,
    /// The scopes of engines below that have containers of this one.
    pub(super) scopes: BTreeSet<String>,
    pub(super) is_live: bool,
    pub(super) own: Portfolio,
    pub(super) hidden: HashMap<ContainerId, Hidden>,
    /// The containers that wait, by time. Some may not wait any more.
    pub(super) waiting: VecDeque<(Instant, ContainerId)>,
}

/// Why a container is not shown as this member's: a higher one holds it, or something in here.
#[derive(Default)]
pub(super) struct Hidden {
    /// The life whose exit a higher engine has announced. This member reports the same later, if it is not
    /// disconnected.
    pub(super) over: Option<Life>,
    /// Until when it waits for a higher engine to report the start.
    pub(super) until: Option<Instant>,
}

/// A life whose end was announced by an engine, before others that may know it have reported it.
pub(super) struct Ended {
    pub(super) by: EngineKey,
    pub(super) id: ContainerId,
    pub(super) pid: u32,
}

impl Source {
    pub(super) fn new(watcher: &dyn Watcher) -> Self {
        Self {
            layer: watcher.layer(),
            host: watcher.key().host(),
            scopes: watcher.scope_below().map(str::to_owned).into_iter().collect(),
            is_live: false,
            own: Portfolio::default(),
            hidden: HashMap::new(),
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn holds(&self, unscoped: &str) -> bool {
        self.own.all_by_unscoped_id(unscoped).next().is_some()
    }

    /// Remembers that this engine has containers in a scope of an engine below.
    pub(super) fn learn(&mut self, scope: &str) {
        if !self.scopes.contains(scope) && self.scopes.len() < SCOPES {
            self.scopes.insert(scope.to_owned());
        }
    }

    pub(super) fn hide(&mut self, id: &ContainerId, over: Option<Life>) {
        self.hidden.insert(id.clone(), Hidden { over, until: None });
    }

    /// Hides a container until a higher engine reports it, but not for long.
    pub(super) fn wait(&mut self, id: &ContainerId) {
        let until = Instant::now() + PATIENCE;
        self.hidden.entry(id.clone()).or_default().until = Some(until);
        self.waiting.push_back((until, id.clone()));
    }

    /// Returns when the first container has waited for long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|(until, _)| *until)
    }
}

/// Returns scope and rest of an ID.
pub(super) fn split(id: &str) -> (&str, &str) {
    id.rsplit_once('/').unwrap_or(("", id))
}

/// Returns whether two containers with the same ID are the same life, as far as their PIDs are known.
pub(super) fn is_same_life(one: &Container, other: &Container) -> bool {
    one.pid() == other.pid() || one.pid() == 0 || other.pid() == 0
}
