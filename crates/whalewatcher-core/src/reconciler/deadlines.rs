//! The times at which the reconciler acts by itself, as data.
//!
//! Each deadline belongs to a state and exists exactly as long as that: a retry as long as the container's
//! inspection is deferred, a grace period as long as what it waits for has not come. So a deadline that is
//! due is never stale.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use foldhash::HashMap;
use tokio::time::Instant;

use crate::model::ContainerId;

/// How long the event stream may take to deliver an event whose consequences a list, an inspection or a probe has shown
/// already.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// The present, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// The monotonic clock, for deadlines.
    pub(crate) instant: Instant,
    /// The wall clock, for dating what the engine reports without a time.
    pub(crate) time: SystemTime,
}

impl Now {
    /// Reads both clocks.
    pub(crate) fn read() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }
}

/// What there is to do at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// Inspect a container again.
    Retry(ContainerId),
    /// Publish the exit of a life that an inspection found to be over, though its exit event has not come.
    Exit(ContainerId),
    /// Inspect a container that an audit's list showed differently, unless events have explained that.
    Drift(ContainerId),
    /// Request the list again: the last one failed or was not complete.
    Relist,
    /// Compare the portfolio with a list.
    Audit,
}

/// All pending deadlines.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Deadlines {
    queue: BTreeSet<(Instant, Deadline)>,
    times: HashMap<Deadline, Instant>,
}

impl Deadlines {
    /// Sets a deadline, in place of the one that is pending for the same purpose.
    pub(super) fn set(&mut self, deadline: Deadline, at: Instant) {
        if let Some(former) = self.times.insert(deadline.clone(), at) {
            self.queue.remove(&(former, deadline.clone()));
        }
        self.queue.insert((at, deadline));
    }

    /// Removes a deadline, and returns whether it was pending.
    pub(super) fn cancel(&mut self, deadline: Deadline) -> bool {
        match self.times.remove(&deadline) {
            Some(at) => self.queue.remove(&(at, deadline)),
            None => false,
        }
    }

    /// Releases the memory that only more deadlines at once needed.
    pub(super) fn release_capacity(&mut self) {
        self.times.shrink_to(2 * self.times.len());
    }

    /// Removes all.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.times.clear();
    }

    /// The time of the earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Removes and returns the earliest deadline, if its time has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Deadline> {
        if self.next()? > now {
            return None;
        }
        let (_, deadline) = self.queue.pop_first()?;
        self.times.remove(&deadline);
        Some(deadline)
    }

    #[cfg(test)]
    pub(super) fn is_pending(&self, deadline: &Deadline) -> bool {
        self.times.contains_key(deadline)
    }

    /// All that are pending, in order of time.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Deadline> {
        self.queue.iter().map(|(_, deadline)| deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(id: &str) -> Deadline {
        Deadline::Retry(id.into())
    }

    #[test]
    fn deadlines_come_due_in_order_of_time() {
        let now = Instant::now();
        let mut deadlines = Deadlines::default();
        assert_eq!((deadlines.next(), deadlines.pop_due(now)), (None, None));
        for (id, seconds) in [("c", 3), ("a", 1), ("b", 2)] {
            deadlines.set(retry(id), now + Duration::from_secs(seconds));
        }
        assert_eq!(deadlines.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(deadlines.pop_due(now), None);
        let later = now + Duration::from_secs(2);
        assert_eq!(deadlines.pop_due(later), Some(retry("a")));
        assert_eq!(deadlines.pop_due(later), Some(retry("b")));
        assert_eq!((deadlines.pop_due(later), deadlines.all().count()), (None, 1));
        deadlines.clear();
        assert_eq!((deadlines.next(), deadlines.is_pending(&retry("c"))), (None, false));
    }

    #[test]
    fn each_purpose_has_one_deadline() {
        let now = Instant::now();
        let mut deadlines = Deadlines::default();
        for seconds in [5, 1, 3] {
            deadlines.set(retry("a"), now + Duration::from_secs(seconds));
        }
        deadlines.set(Deadline::Exit("a".into()), now + Duration::from_secs(4));
        assert_eq!((deadlines.all().count(), deadlines.next()), (2, Some(now + Duration::from_secs(3))));
        assert!(deadlines.cancel(retry("a")) && !deadlines.cancel(retry("a")));
        assert_eq!((deadlines.all().count(), deadlines.next()), (1, Some(now + Duration::from_secs(4))));
        assert_eq!(deadlines.pop_due(now + Duration::from_secs(9)), Some(Deadline::Exit("a".into())));
        assert!(!deadlines.is_pending(&Deadline::Exit("a".into())));
    }
}
