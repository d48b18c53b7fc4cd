//! What the server counts, for tests to read and to wait for.

use std::collections::BTreeMap;

use super::call::{Call, Method};

/// What the server has seen so far, at one moment. Calls to containerd's own API are counted by the server of that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that have arrived, answered or not.
    pub requests: Requests,
    /// Connections taken since the start.
    pub accepted: u64,
    /// Connections open now.
    pub open: usize,
    /// Subscriptions to events that are registered with the runtime now.
    pub subscriptions: usize,
    /// Subscriptions that were ever registered.
    pub subscribed: u64,
}

/// Requests by method and by the ID that they ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<Method, Counts>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    all: u64,
    by_id: BTreeMap<String, u64>,
}

impl Requests {
    /// Requests of any kind.
    pub fn total(&self) -> u64 {
        self.0.values().map(|counts| counts.all).sum()
    }

    /// Requests of this method.
    pub fn of(&self, method: Method) -> u64 {
        self.0.get(&method).map_or(0, |counts| counts.all)
    }

    /// Requests of this method for this container or sandbox.
    pub fn of_id(&self, method: Method, id: &str) -> u64 {
        self.0.get(&method).and_then(|counts| counts.by_id.get(id)).copied().unwrap_or_default()
    }

    /// The containers and sandboxes that this method asked for, each with how often it did.
    pub fn ids(&self, method: Method) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.0.get(&method).into_iter();
        counts.flat_map(|counts| counts.by_id.iter().map(|(id, count)| (id.as_str(), *count)))
    }

    pub(super) fn count(&mut self, call: &Call) {
        let counts = self.0.entry(call.method).or_default();
        counts.all += 1;
        if let Some(id) = &call.id {
            *counts.by_id.entry(id.clone()).or_default() += 1;
        }
    }
}
