//! The containers that cannot be inspected, as the status names them.

use std::fmt;
use std::sync::Arc;

use super::container_id::ContainerId;
use super::error::EngineError;
use super::escape::Printable;

/// The containers that cannot be inspected: of these the portfolio shows what was last known, if anything. They are
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
    /// Its name, where the portfolio, a list or an event contains it.
    pub name: Option<String>,
    /// Why the newest inspection failed.
    pub error: Arc<EngineError>,
}

impl Unresolved {
    /// The most containers that are named.
    const NAMED: usize = 100;

    /// Names the first of them, which come in the order of their IDs.
    pub(crate) fn new(total: usize, containers: impl Iterator<Item = UnresolvedContainer>) -> Self {
        Self { total, containers: containers.take(Self::NAMED).collect() }
    }

    /// How many containers cannot be inspected.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The first 100 of them in the order of their IDs.
    #[must_use]
    pub fn containers(&self) -> &[UnresolvedContainer] {
        &self.containers
    }

    /// Whether it says the same as the other.
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
    /// The container and the reason in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.name.as_deref().unwrap_or(&self.id);
        write!(f, "{}: {}", Printable(named), Printable(&self.error.to_string()))
    }
}
