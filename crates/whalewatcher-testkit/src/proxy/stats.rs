//! The statistics of the proxy, for tests to read and to wait for.

use std::{collections::BTreeMap, fmt};

/// How many different request lines are counted separately; those beyond are only counted in total.
const MAX_LINES: usize = 4096;

/// The name of a fault that was injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(pub(super) u64);

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fault {}", self.0)
    }
}

/// The statistics of the proxy at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open now.
    pub open: usize,
    /// Connections that could not be passed on, because the engine could not be reached.
    pub unreachable: u64,
    /// HTTP/1.1 requests seen, answered or not.
    pub requests: u64,
    /// Requests by method and path, such as `GET /v1.51/events`; the first 4,096 different ones.
    pub lines: BTreeMap<String, u64>,
    /// Bytes passed on to clients.
    pub to_client: u64,
    /// Bytes passed on to the engine.
    pub to_engine: u64,
    /// Bytes read and dropped.
    pub swallowed: u64,
    /// Directions of connections in which a stall holds data back now.
    pub stalled: usize,
    /// Lines of event streams (of requests whose path ends with `/events`) passed on.
    pub events: u64,
    /// Lines of event streams that were dropped.
    pub dropped: u64,
    /// How often each fault has taken effect.
    pub hits: BTreeMap<FaultId, u64>,
}

impl Stats {
    /// Returns the number of requests whose method and path contain this.
    pub fn requests_of(&self, containing: &str) -> u64 {
        self.lines.iter().filter(|(line, _)| line.contains(containing)).map(|(_, count)| count).sum()
    }

    /// Returns how often a fault has taken effect: connections cut, corrupted, stalled or slowed, answers given or
    /// truncated, events dropped, repeated or delayed. A stall counts when it first holds back or drops data.
    pub fn hits_of(&self, fault: FaultId) -> u64 {
        self.hits.get(&fault).copied().unwrap_or(0)
    }

    pub(super) fn saw_request(&mut self, line: &str) {
        self.requests += 1;
        if let Some(count) = self.lines.get_mut(line) {
            *count += 1;
        } else if self.lines.len() < MAX_LINES {
            self.lines.insert(line.into(), 1);
        }
    }

    pub(super) fn hit(&mut self, fault: FaultId) {
        *self.hits.entry(fault).or_default() += 1;
    }
}
