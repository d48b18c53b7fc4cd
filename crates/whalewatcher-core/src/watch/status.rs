//! The status of a watcher.

use std::fmt;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::SystemTime;

use super::engine_clock::EngineClock;
use crate::engine::{ChangeSource, Unlisted};
use crate::model::{EngineError, Printable, Unresolved};

/// The status of a watcher.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The phase of the watch.
    pub phase: Phase,
    /// How the adapter learns of changes; `None` while it is not connected.
    pub source: Option<ChangeSource>,
    /// Why the adapter uses a fallback to learn of changes, such as polling because the engine ends the event
    /// stream at once; `None` if it uses none.
    pub fallback: Option<Arc<EngineError>>,
    /// The containers that cannot be inspected, with the reasons.
    pub unresolved: Unresolved,
    /// The scopes of the engine, such as namespaces, that cannot be listed: the portfolio holds the last known state of
    /// their containers, and what events reported. The watcher lists them again.
    pub unlisted: Vec<Unlisted>,
    /// The engine's clock, as it was read at the newest connection; `None` where the engine does not report it.
    pub clock: Option<EngineClock>,
    /// How many lives of the portfolio the witness watches.
    pub witnessed: usize,
    /// How many it does not watch: their ends are known by the engine only. 0 without a witness.
    pub unwitnessed: usize,
    /// What the watcher has done so far.
    pub counters: Counters,
}

/// What a watcher has done since it was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Attempts to connect.
    pub connects: u64,
    /// Connections on which the portfolio came in sync, the first one included.
    pub resyncs: u64,
    /// Engine events received.
    pub events: u64,
    /// Of these, events that neither changed the portfolio nor caused an inspection.
    pub ignored: u64,
    /// Lists requested.
    pub lists: u64,
    /// Inspections requested.
    pub inspections: u64,
    /// Of these, retries after a failure.
    pub retries: u64,
    /// Connections dropped because of a malformed answer or event.
    pub malformed: u64,
    /// Periodic comparisons of the portfolio with the engine's list.
    pub audits: u64,
    /// Containers with drift that an audit found and repaired: events were lost.
    pub drifted: u64,
    /// When drift was last found.
    pub last_drift: Option<SystemTime>,
    /// How many times the engine contradicted the witness: an end of a life that goes on, or a life that has ended.
    pub contradictions: u64,
    /// How many times a subscriber lagged and received the difference.
    pub lagged: u64,
}

/// The phase of a watch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// The watcher has not been watched yet.
    Idle,
    /// It is connecting, for the first time or after a connection was lost.
    Connecting,
    /// It is connected, and lists and inspects what is alive. The portfolio is as last known and is updated
    /// step by step. This phase lasts as long as a scope of the engine cannot be listed.
    Synchronizing,
    /// The portfolio is in sync with the engine, and follows it.
    Live {
        /// Since when.
        since: SystemTime,
    },
    /// The engine cannot be reached; the watcher tries again. The portfolio is as last known.
    Disconnected {
        /// Why the connection or the attempt failed.
        error: Arc<EngineError>,
    },
    /// The watch gave up: as many attempts failed as the back-off allows.
    Failed {
        /// Why the last attempt failed.
        error: Arc<EngineError>,
    },
    /// The engine client's hook before watching failed, and the watch did not begin.
    Refused {
        /// The error that the hook returned.
        error: Arc<EngineError>,
    },
    /// The engine client panicked, or code of the application that it calls. The portfolio is as last known.
    Panicked {
        /// The message of the panic.
        error: Arc<EngineError>,
    },
    /// The watch was cancelled or dropped, or the runtime that ran it has ended. The portfolio is as last known.
    Cancelled,
    /// The watcher was closed permanently.
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
            clock: None,
            witnessed: 0,
            unwitnessed: 0,
            counters: Counters::default(),
        }
    }

    /// Returns whether both are equal, except for the clock, the witnessed lives and the counters.
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

    /// Returns the time by the engine's clock, for ages of containers; by this host's if the engine's is not known.
    #[must_use]
    pub fn engine_time(&self) -> SystemTime {
        self.clock.as_ref().map_or_else(SystemTime::now, EngineClock::now)
    }

    /// Returns whether the portfolio is in sync with the engine.
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
        Arc::new(EngineError::new(ErrorKind::Unreachable, "nothing\nthere"))
    }

    fn unresolved(total: usize) -> Unresolved {
        Unresolved::new(total, std::iter::empty())
    }

    fn live(since: u64) -> Phase {
        Phase::Live { since: SystemTime::UNIX_EPOCH + Duration::from_secs(since) }
    }

    #[test]
    fn statuses_are_the_same_if_only_counters_differ() {
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
    fn each_phase_is_displayed() {
        for (phase, words) in [
            (Phase::Idle, "idle"),
            (Phase::Connecting, "connecting"),
            (Phase::Synchronizing, "synchronizing"),
            (live(1), "live"),
            (Phase::Disconnected { error: failure() }, r"disconnected: nothing\nthere"),
            (Phase::Failed { error: failure() }, r"gave up: nothing\nthere"),
            (Phase::Refused { error: failure() }, r"not watching: nothing\nthere"),
            (Phase::Panicked { error: failure() }, r"nothing\nthere"),
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
            let because = r"by polling every 1.5 s because nothing\nthere";
            assert_eq!(status.to_string(), format!("{words}, {because}, 2 unresolved"));
            (status.source, status.fallback) = (Some(ChangeSource::Hints), None);
            assert_eq!(status.to_string(), format!("{words}, by hints, 2 unresolved"));
        }
    }
}
