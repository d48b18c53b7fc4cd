//! What a server counts, for tests to read and to wait for.

use std::collections::BTreeMap;

/// What the server has seen so far, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats<M> {
    /// Requests that have arrived, answered or not.
    pub requests: Requests<M>,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open now.
    pub open: usize,
    /// Subscriptions to events that are registered now.
    pub subscriptions: usize,
    /// Subscriptions that were ever registered.
    pub subscribed: u64,
}

impl<M> Default for Stats<M> {
    fn default() -> Self {
        Self { requests: Requests::default(), accepted: 0, open: 0, subscriptions: 0, subscribed: 0 }
    }
}

/// Requests by method and by the ID that they ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests<M>(BTreeMap<M, Counts>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    all: u64,
    by_id: BTreeMap<String, u64>,
}

impl<M> Default for Requests<M> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<M: Copy + Ord> Requests<M> {
    /// Requests of any kind.
    pub fn total(&self) -> u64 {
        self.0.values().map(|counts| counts.all).sum()
    }

    /// Requests of this method.
    pub fn of(&self, method: M) -> u64 {
        self.0.get(&method).map_or(0, |counts| counts.all)
    }

    /// Requests of this method for this ID.
    pub fn of_id(&self, method: M, id: &str) -> u64 {
        self.0.get(&method).and_then(|counts| counts.by_id.get(id)).copied().unwrap_or_default()
    }

    /// The IDs that this method asked for, each with how often it did.
    pub fn ids(&self, method: M) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.0.get(&method).into_iter();
        counts.flat_map(|counts| counts.by_id.iter().map(|(id, count)| (id.as_str(), *count)))
    }

    pub(crate) fn count(&mut self, method: M, id: Option<&str>) {
        let counts = self.0.entry(method).or_default();
        counts.all += 1;
        if let Some(id) = id {
            *counts.by_id.entry(id.into()).or_default() += 1;
        }
    }
}
