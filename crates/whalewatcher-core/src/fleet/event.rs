//! The events of a fleet.

use std::fmt;
use std::sync::Arc;

use crate::model::{EngineKey, Event};
use crate::watch::Watcher;

/// An event of a fleet: a change of a container, of the watch of a member, or of the membership itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FleetEvent {
    /// The revision of the fleet's portfolio after the event. Of the difference that a lagging subscriber
    /// receives, only the last event has that of the newest portfolio, and those before it have that of the
    /// last one that the subscriber saw.
    pub revision: u64,
    /// Endpoint and type of the engine.
    pub key: EngineKey,
    /// The engine's watcher, also after it left the fleet.
    pub watcher: Arc<dyn Watcher>,
    /// What happened.
    pub event: Event,
}

impl FleetEvent {
    /// Returns another event of the same engine, for code that synthesizes events.
    #[must_use]
    pub fn with_event(&self, event: Event) -> Self {
        Self { event, ..self.clone() }
    }
}

impl fmt::Display for FleetEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.event)
    }
}
