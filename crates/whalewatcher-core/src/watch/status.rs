//! How a watcher fares.

use std::fmt;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::SystemTime;

use crate::engine::{ChangeSource, Unlisted};
use crate::model::{EngineError, Printable, Unresolved};

/// How a watcher fares at the moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// How it learns of changes; `None` while it is not connected.
    pub source: Option<ChangeSource>,
    /// Why it learns of changes in a worse way than usual, such as by polling because the engine ends the event stream at
    /// once; `None` where it does not.
    pub fallback: Option<Arc<EngineError>>,
    /// The containers that cannot be inspected, and why not.
    pub unresolved: Unresolved,
    /// The parts of the engine, such as namespaces, that cannot be listed: of these the portfolio shows what was last
    /// known and what events told, if anything. The list is asked for again.
    pub unlisted: Vec<Unlisted>,
    /// What it has done so far.
    pub counters: Counters,
}

/// What a watcher has done since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Attempts to connect.
    pub connects: u64,
    /// Connections on which it found out what is alive, the first one included.
    pub resyncs: u64,
    /// Engine events received.
    pub events: u64,
    /// Of these, events that changed nothing: neither the portfolio nor what was asked.
    pub ignored: u64,
    /// Lists asked for.
    pub lists: u64,
    /// Inspections asked for.
    pub inspections: u64,
    /// Of these, repetitions of failed ones.
    pub retries: u64,
    /// Connections given up because of an answer or event that cannot be understood.
    pub malformed: u64,
    /// Comparisons of the portfolio with the engine's list while all seemed well.
    pub audits: u64,
    /// Containers of which an audit found, and mended, that the portfolio was wrong: events were lost.
    pub drifted: u64,
    /// When that was the last time.
    pub last_drift: Option<SystemTime>,
    /// How many times a subscriber lagged and was given the difference.
    pub lagged: u64,
}

/// What a watcher is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// It has not been watched yet.
    Idle,
    /// It tries to reach the engine, for the first time or after a connection was lost.
    Connecting,
    /// It is connected and finds out what is alive. The portfolio is as last known and becomes right bit by bit. It stays
    /// so for as long as a part of the engine cannot be listed.
    Synchronizing,
    /// The portfolio is as the engine says, and follows it.
    Live {
        /// Since when.
        since: SystemTime,
    },
    /// The engine cannot be reached; it will be tried again. The portfolio is as last known.
    Disconnected {
        /// Why not.
        error: Arc<EngineError>,
    },
    /// The watch gave up: the engine could not be reached as often as the back-off allows.
    Failed {
        /// Why not, the last time.
        error: Arc<EngineError>,
    },
    /// The engine client's hook before watching failed, so nothing was watched.
    Refused {
        /// What the hook returned.
        error: Arc<EngineError>,
    },
    /// The watch ended by a panic of the engine client, or of what the application gave it. The portfolio is as last known.
    Panicked {
        /// The panic's message.
        error: Arc<EngineError>,
    },
    /// The watch was cancelled or dropped, or the runtime that ran it has ended. The portfolio is as last known.
    Cancelled,
    /// The watcher was closed, for good.
    Closed,
}

impl Status {
    pub(crate) fn new(phase: Phase) -> Self {
        Self {
            phase,
            source: None,
            fallback: None,
            unresolved: Unresolved::default(),
            unlisted: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Whether it says the same as the other.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same_phase = match (&self.phase, &other.phase) {
            (Phase::Live { since }, Phase::Live { since: other }) => since == other,
            (Phase::Disconnected { error }, Phase::Disconnected { error: other })
            | (Phase::Failed { error }, Phase::Failed { error: other })
            | (Phase::Refused { error }, Phase::Refused { error: other })
            | (Phase::Panicked { error }, Phase::Panicked { error: other }) => Arc::ptr_eq(error, other),
            (one, other) => discriminant(one) == discriminant(other),
        };
        let same_unlisted =
            self.unlisted.iter().map(|part| &part.scope).eq(other.unlisted.iter().map(|part| &part.scope));
        let same_source = self.source == other.source && self.fallback == other.fallback;
        same_phase && same_source && self.unresolved.is_same(&other.unresolved) && same_unlisted
    }

    /// Whether the portfolio is as the engine says, and follows it.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.phase {
            Phase::Idle => f.write_str("idle"),
            Phase::Connecting => f.write_str("connecting"),
            Phase::Synchronizing => f.write_str("synchronizing"),
            Phase::Live { .. } => f.write_str("live"),
            Phase::Disconnected { error } => write!(f, "disconnected: {}", Printable(&error.to_string())),
            Phase::Failed { error } => write!(f, "gave up: {}", Printable(&error.to_string())),
            Phase::Refused { error } => write!(f, "not watching: {}", Printable(&error.to_string())),
            Phase::Panicked { error } => write!(f, "{}", Printable(&error.to_string())),
            Phase::Cancelled => f.write_str("cancelled"),
            Phase::Closed => f.write_str("closed"),
        }?;
        if let Some(source) = self.source.filter(|source| *source != ChangeSource::Events) {
            write!(f, ", by {source}")?;
        }
        if let Some(error) = &self.fallback {
            write!(f, " because {}", Printable(&error.to_string()))?;
        }
        match self.unresolved.total() {
            0 => Ok(()),
            unresolved => write!(f, ", {unresolved} unresolved"),
        }?;
        for Unlisted { scope, error } in &self.unlisted {
            write!(f, ", '{}' cannot be listed: {}", Printable(scope), Printable(&error.to_string()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::ErrorKind;

    fn failure() -> Arc<EngineError> {
        Arc::new(EngineError::new(ErrorKind::Unreachable, "nobody\nthere"))
    }

    fn unresolved(total: usize) -> Unresolved {
        Unresolved::new(total, std::iter::empty())
    }

    fn live(since: u64) -> Phase {
        Phase::Live { since: SystemTime::UNIX_EPOCH + Duration::from_secs(since) }
    }

    #[test]
    fn only_what_differs_in_phase_or_in_what_is_unresolved_is_not_the_same() {
        let error = failure();
        let all = [
            Phase::Idle,
            Phase::Connecting,
            Phase::Synchronizing,
            live(1),
            live(2),
            Phase::Disconnected { error: error.clone() },
            Phase::Disconnected { error: failure() },
            Phase::Failed { error: error.clone() },
            Phase::Failed { error: failure() },
            Phase::Refused { error: error.clone() },
            Phase::Panicked { error },
            Phase::Cancelled,
            Phase::Closed,
        ];
        for (nth, one) in all.iter().enumerate() {
            for (mth, other) in all.iter().enumerate() {
                let (one, mut other) = (Status::new(one.clone()), Status::new(other.clone()));
                other.counters.events += 1;
                assert_eq!(one.is_same(&other), nth == mth, "{one}, {other}");
                other.source = Some(ChangeSource::Hints);
                assert!(!one.is_same(&other), "{one}, {other}");
                other.source = None;
                other.fallback = Some(failure());
                assert!(!one.is_same(&other), "{one}, {other}");
                other.fallback = None;
                other.unresolved = unresolved(1);
                assert!(!one.is_same(&other), "{one}, {other}");
                assert_eq!(one.is_live(), nth == 3 || nth == 4);
            }
        }
    }

    #[test]
    fn each_phase_has_its_words() {
        for (phase, words) in [
            (Phase::Idle, "idle"),
            (Phase::Connecting, "connecting"),
            (Phase::Synchronizing, "synchronizing"),
            (live(1), "live"),
            (Phase::Disconnected { error: failure() }, r"disconnected: nobody\nthere"),
            (Phase::Failed { error: failure() }, r"gave up: nobody\nthere"),
            (Phase::Refused { error: failure() }, r"not watching: nobody\nthere"),
            (Phase::Panicked { error: failure() }, r"nobody\nthere"),
            (Phase::Cancelled, "cancelled"),
            (Phase::Closed, "closed"),
        ] {
            let mut status = Status::new(phase);
            assert_eq!(status.to_string(), words);
            status.unresolved = unresolved(2);
            status.source = Some(ChangeSource::Events);
            assert_eq!(status.to_string(), format!("{words}, 2 unresolved"));
            status.source = Some(ChangeSource::Polling { every: Duration::from_millis(1500) });
            assert_eq!(status.to_string(), format!("{words}, by polling every 1.5 s, 2 unresolved"));
            status.fallback = Some(failure());
            let because = r"by polling every 1.5 s because nobody\nthere";
            assert_eq!(status.to_string(), format!("{words}, {because}, 2 unresolved"));
            (status.source, status.fallback) = (Some(ChangeSource::Hints), None);
            assert_eq!(status.to_string(), format!("{words}, by hints, 2 unresolved"));
        }
    }
}
