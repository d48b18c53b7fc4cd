//! The containers that cannot be inspected, as the status lists them.

use std::fmt;
use std::sync::Arc;

use super::container_id::ContainerId;
use super::error::EngineError;
use super::escape::Printable;

/// The containers that cannot be inspected. The portfolio holds their last known state, if any. They are
/// inspected again after growing delays.
#[derive(Clone, Debug, Default)]
pub struct Unresolved {
    total: usize,
    containers: Arc<[UnresolvedContainer]>,
}

/// A container that cannot be inspected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnresolvedContainer {
    /// Its ID.
    pub id: ContainerId,
    /// Its name, where the portfolio, a listing or an event contains it.
    pub name: Option<String>,
    /// Why the newest inspection failed.
    pub error: Arc<EngineError>,
}

impl Unresolved {
    /// The most containers that are listed.
    const NAMED: usize = 100;

    /// Lists the first of them. The iterator is sorted by ID.
    pub(crate) fn new(total: usize, containers: impl Iterator<Item = UnresolvedContainer>) -> Self {
        Self { total, containers: containers.take(Self::NAMED).collect() }
    }

    /// Returns how many containers cannot be inspected.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Returns whether all containers can be inspected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Returns the first 100 of them, by ascending ID.
    #[must_use]
    pub fn containers(&self) -> &[UnresolvedContainer] {
        &self.containers
    }

    /// Returns whether both list the same containers with the same reasons.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): (&UnresolvedContainer, &UnresolvedContainer)| {
            one.id == other.id && one.name == other.name && one.error.to_string() == other.error.to_string()
        };
        self.total == other.total
            && (Arc::ptr_eq(&self.containers, &other.containers)
                || self.containers.len() == other.containers.len()
                    && self.containers.iter().zip(&*other.containers).all(same))
    }
}

impl fmt::Display for UnresolvedContainer {
    /// Writes the container and the reason on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.name.as_deref().unwrap_or(&self.id);
        write!(f, "{}: {}", Printable(named), Printable(&self.error.to_string()))
    }
}
