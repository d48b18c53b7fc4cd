//! What an engine lists, and what it could not list.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::SystemTime;

use crate::model::{Container, ContainerId, EngineError};

/// What an engine lists.
#[derive(Debug, Default)]
pub struct Listing {
    /// What is alive, in all scopes that could be listed.
    pub entries: Vec<ListingEntry>,
    /// The scopes that could not be listed: what was known of their containers stays, and the list is asked for again
    /// after a while. Until each scope was listed once, the watcher is not ready.
    pub unlisted: Vec<Unlisted>,
}

/// A part of an engine that could not be listed, such as a namespace.
#[derive(Clone, Debug)]
pub struct Unlisted {
    /// Which: what [`EngineConnection::scope_of`] says of the containers in it.
    pub scope: String,
    /// Why not.
    pub error: Arc<EngineError>,
}

impl From<Vec<ListingEntry>> for Listing {
    /// All that is alive.
    fn from(entries: Vec<ListingEntry>) -> Self {
        Self { entries, unlisted: Vec::new() }
    }
}

/// Of whom a list does not tell whether they are alive.
#[derive(Debug)]
pub(crate) struct UnlistedScopes {
    scopes: Vec<String>,
    scope_of: fn(&ContainerId) -> &str,
}

impl UnlistedScopes {
    pub(crate) fn of(scopes: Vec<String>, scope_of: fn(&ContainerId) -> &str) -> Self {
        Self { scopes, scope_of }
    }

    /// Whether all is told.
    pub(crate) fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    pub(crate) fn contains(&self, id: &ContainerId) -> bool {
        self.scopes.iter().any(|scope| scope == (self.scope_of)(id))
    }
}

/// A container that a list names as alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListingEntry {
    /// The list tells all there is to know.
    Whole(Container),
    /// The list tells no PID or no start time (the container's is 0 or `None`): the container is inspected.
    Partial {
        /// What the list tells.
        container: Container,
        /// When it must have been started, if the list tells roughly.
        started_within: Option<RangeInclusive<SystemTime>>,
    },
}

impl ListingEntry {
    /// What the list tells of the container.
    #[must_use]
    pub fn container(&self) -> &Container {
        match self {
            Self::Whole(container) | Self::Partial { container, .. } => container,
        }
    }

    /// Whether the list shows a container just as it is known. What a list does not tell of is no difference, nor are
    /// labels that it lacks.
    pub(crate) fn shows(&self, known: &Container) -> bool {
        match self {
            Self::Whole(container) => container == known,
            Self::Partial { container, started_within } => {
                let started_then = match (started_within, known.started_at()) {
                    (Some(within), Some(started_at)) => within.contains(&started_at),
                    _ => true,
                };
                let mut labels = container.labels().iter();
                started_then
                    && container.name() == known.name()
                    && container.paused() == known.paused()
                    && labels.all(|(key, value)| known.labels().get(key) == Some(value))
            }
        }
    }
}
