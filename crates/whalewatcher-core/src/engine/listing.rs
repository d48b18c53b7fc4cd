//! A list of what is alive, and of the scopes that could not be listed.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::SystemTime;

use crate::model::{Container, ContainerId, EngineError};

/// What is alive in an engine, as far as it could be listed.
///
/// ```
/// use whalewatcher_core::Container;
/// use whalewatcher_core::adapter::{Listing, ListingEntry};
///
/// let listing = Listing::from(vec![ListingEntry::Whole(Container::new("c0ffee", "web", 4711))]);
/// assert!(listing.unlisted.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Listing {
    /// The containers that are alive in the scopes that could be listed.
    pub entries: Vec<ListingEntry>,
    /// The scopes that could not be listed: their containers keep their last known state, and the watcher lists again
    /// after a while. The watcher is not ready until each scope has been listed once.
    pub unlisted: Vec<Unlisted>,
}

/// A scope of an engine, such as a namespace, that could not be listed.
#[derive(Clone, Debug)]
pub struct Unlisted {
    /// The scope, as [`EngineConnection::scope_of`](crate::adapter::EngineConnection::scope_of) returns it.
    pub scope: String,
    /// Why it could not be listed.
    pub error: Arc<EngineError>,
}

impl From<Vec<ListingEntry>> for Listing {
    /// Creates a listing that covers all scopes.
    fn from(entries: Vec<ListingEntry>) -> Self {
        Self { entries, unlisted: Vec::new() }
    }
}

/// The scopes that a listing did not cover; their containers keep their last known state.
#[derive(Debug)]
pub(crate) struct UnlistedScopes {
    scopes: Vec<String>,
    scope_of: fn(&ContainerId) -> &str,
}

impl UnlistedScopes {
    pub(crate) fn of(scopes: Vec<String>, scope_of: fn(&ContainerId) -> &str) -> Self {
        Self { scopes, scope_of }
    }

    pub(crate) fn new(unlisted: &[Unlisted], scope_of: fn(&ContainerId) -> &str) -> Self {
        Self::of(unlisted.iter().map(|part| part.scope.clone()).collect(), scope_of)
    }

    /// Returns whether the listing covered all scopes.
    pub(crate) fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    pub(crate) fn contains(&self, id: &ContainerId) -> bool {
        self.scopes.iter().any(|scope| scope == (self.scope_of)(id))
    }
}

/// A container that a list contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListingEntry {
    /// The list contains all details.
    Whole(Container),
    /// The list lacks the PID (0) or the start time (`None`): the watcher inspects the container.
    Partial {
        /// The container, as far as the list describes it.
        container: Container,
        /// The range in which it was started, if the list contains an approximate time.
        started_within: Option<RangeInclusive<SystemTime>>,
    },
}

impl ListingEntry {
    /// Returns the container, as far as the list describes it.
    #[must_use]
    pub fn container(&self) -> &Container {
        match self {
            Self::Whole(container) | Self::Partial { container, .. } => container,
        }
    }

    /// Returns whether the entry agrees with a known container. Details and labels that the list lacks are ignored.
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
                    && (container.pid() == 0 || container.pid() == known.pid())
                    && container.name() == known.name()
                    && container.paused() == known.paused()
                    && container.lists_same_details(known)
                    && labels.all(|(key, value)| known.labels().get(key) == Some(value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_entry_shows_another_life_by_its_pid() {
        let known = Container::new("a", "web", 7);
        for (pid, shown) in [(0, true), (7, true), (8, false)] {
            let container = Container::new("a", "web", pid);
            let entry = ListingEntry::Partial { container, started_within: None };
            assert_eq!(entry.shows(&known), shown, "{pid}");
        }
    }
}
