//! What the program that counts allocations reports to the one that prints the figures.

use serde::{Deserialize, Serialize};

use crate::sample::Sample;

/// What became of watching so many containers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// How many containers there were.
    pub containers: usize,
    /// Seconds until it was ready, and seconds that the same requests took a minimal client; of each time.
    pub ready: Vec<(f64, f64)>,
    /// Bytes that were allocated and not freed when it was ready, beyond those before.
    pub bytes: f64,
    /// Requests until it was ready.
    pub requests: Requests,
    /// What happened after that.
    pub churn: Churn,
}

/// Transitions, and what came of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Churn {
    /// How many transitions there were.
    pub transitions: u64,
    /// For how many seconds.
    pub seconds: f64,
    /// How many lives began.
    pub starts: u64,
    /// How long it took from a transition to the subscriber's hands.
    pub lag: Lag,
    /// The same of a reader of the event stream that does nothing else.
    pub lag_floor: Lag,
    /// Bytes that were allocated and not freed, beyond those before it was watched: before, after some transitions that do not
    /// count otherwise, and after these, when all was at rest again.
    pub bytes: (f64, f64),
    /// Requests meanwhile.
    pub requests: Requests,
    /// How many changes a subscriber received.
    pub reported: u64,
    /// How many times it lagged.
    pub lagged: u64,
    /// How many containers an audit found to be otherwise than they were known.
    pub drifted: u64,
    /// How many events the engine did not deliver, for the stream was not read soon enough.
    pub skipped: u64,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Lag {
    /// What half of them are below, with the quartiles.
    pub middle: Sample,
    /// What 99 of 100 are below.
    pub p99: f64,
}

/// How many requests an engine got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Lists.
    pub lists: u64,
    /// Inspections.
    pub inspections: u64,
    /// Event streams.
    pub streams: u64,
    /// Whatever else, such as pings.
    pub others: u64,
}

impl Requests {
    /// What came since those.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            lists: self.lists - before.lists,
            inspections: self.inspections - before.inspections,
            streams: self.streams - before.streams,
            others: self.others - before.others,
        }
    }
}
