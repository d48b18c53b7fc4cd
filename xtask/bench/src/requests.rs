//! Requests to an engine, by what they ask for.

use serde::{Deserialize, Serialize};
use whalewatcher_testkit::proxy::Stats;

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

/// Counts what a proxy saw; pings are among the others.
#[must_use]
pub fn counted(stats: &Stats) -> Requests {
    let mut requests = Requests::default();
    for (line, count) in &stats.lines {
        let path = line.split_once(' ').map_or("", |(_, path)| path);
        let containers = path.split_once("/containers/").map(|(_, rest)| rest);
        match containers {
            Some("json") => requests.lists += count,
            Some(rest) if rest.ends_with("/json") => requests.inspections += count,
            None if path.ends_with("/events") => requests.streams += count,
            _ => requests.others += count,
        }
    }
    // The proxy counts a bounded number of different lines.
    let reported_apart: u64 = stats.lines.values().sum();
    requests.others += stats.requests.saturating_sub(reported_apart);
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_what_they_ask_for() {
        let mut stats = Stats::default();
        let lines = [
            ("GET /v1.45/containers/json", 2),
            ("GET /v1.45/containers/ab12/json", 3),
            ("GET /containers/cd34/json", 4),
            ("GET /v1.45/events", 5),
            ("GET /v1.45/_ping", 6),
            ("GET /v1.45/info", 7),
        ];
        stats.lines = lines.map(|(line, count)| (line.to_owned(), count)).into();
        stats.requests = 30;
        let expected = Requests { lists: 2, inspections: 7, streams: 5, others: 6 + 7 + 3 };
        assert_eq!(counted(&stats), expected);
    }
}
