//! A member of a fleet, in a snapshot.

use std::fmt;
use std::sync::Arc;

use crate::model::{EngineError, EngineIdentity, EngineKey, Event, EventKind};
use crate::portfolio::Portfolio;
use crate::watch::Watcher;

/// A member of a fleet, in a snapshot of it.
#[derive(Clone)]
pub struct FleetMember {
    key: EngineKey,
    watcher: Arc<dyn Watcher>,
    pub(super) portfolio: Portfolio,
    /// The engine of the newest event.
    pub(super) engine: Option<Arc<EngineIdentity>>,
    /// How many events the fleet published about it.
    pub(super) events: u64,
    /// The newest `Synced` or `Disconnected`, with its revision.
    pub(super) about_watch: Option<(u64, Event)>,
}

impl FleetMember {
    pub(super) fn new(key: EngineKey, watcher: Arc<dyn Watcher>) -> Self {
        let portfolio = Portfolio::default();
        Self { key, watcher, portfolio, engine: None, events: 0, about_watch: None }
    }

    /// Returns endpoint and type of the engine.
    #[must_use]
    pub fn key(&self) -> &EngineKey {
        &self.key
    }

    /// Returns the watcher.
    #[must_use]
    pub fn watcher(&self) -> &Arc<dyn Watcher> {
        &self.watcher
    }

    /// Returns the containers that the fleet shows as this engine's. While the engine cannot be reached, they
    /// are as last known.
    #[must_use]
    pub fn portfolio(&self) -> &Portfolio {
        &self.portfolio
    }

    /// Returns whether the engine was in sync when the snapshot was taken.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.about_watch, Some((_, Event { kind: EventKind::Synced { .. }, .. })))
    }

    /// Returns why the engine could not be reached, or why its watch had ended, when the snapshot was taken.
    /// `None` if it was in sync, or had not been reached yet.
    #[must_use]
    pub fn error(&self) -> Option<&Arc<EngineError>> {
        match &self.about_watch {
            Some((_, Event { kind: EventKind::Disconnected { error }, .. })) => Some(error),
            _ => None,
        }
    }

    /// Returns whether both are the same watcher's.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.watcher, &other.watcher)
    }

    /// Applies an event of this member.
    pub(super) fn apply(&mut self, revision: u64, event: &Event) {
        self.portfolio.apply(&event.kind);
        self.events += 1;
        self.engine.clone_from(&event.engine);
        if matches!(event.kind, EventKind::Synced { .. } | EventKind::Disconnected { .. }) {
            self.about_watch = Some((revision, event.clone()));
        }
    }
}

impl PartialEq for FleetMember {
    fn eq(&self, other: &Self) -> bool {
        let state = |member: &Self| (member.is_live(), member.error().is_some());
        self.key == other.key && state(self) == state(other) && self.portfolio == other.portfolio
    }
}

impl fmt::Debug for FleetMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetMember")
            .field("key", &self.key)
            .field("is_live", &self.is_live())
            .field("portfolio", &self.portfolio)
            .finish_non_exhaustive()
    }
}
