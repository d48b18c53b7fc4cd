//! The settings of a watcher.

use std::sync::Arc;
use std::time::Duration;

use crate::witness::Witness;

mod backoff;
mod bounds;

pub use backoff::Backoff;
pub(crate) use bounds::LONGEST;
pub(crate) use bounds::in_bounds;

/// The most inspections at once.
const MOST_INSPECTIONS: usize = 1024;

/// The most events that are kept for a subscriber, unless more containers are alive.
const LONGEST_QUEUE: usize = 1 << 20;

/// The settings of a watcher. The defaults suit an engine on the same host.
///
/// A value out of bounds becomes the nearest valid one: durations are from 1 ms to 10^9 s (about 30 years),
/// counts as each method documents.
///
/// ```
/// # use std::time::Duration;
/// # use whalewatcher_core::Settings;
/// let settings = Settings::default().with_audits(Duration::from_secs(300)).with_inspections(0);
/// assert_eq!(settings.audit_every(), Some(Duration::from_secs(300)));
/// assert_eq!(settings.inspections(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    backoff: Backoff,
    inspections: usize,
    connect_limit: Duration,
    list_limit: Duration,
    inspect_limit: Duration,
    probe_every: Option<Duration>,
    probe_limit: Duration,
    audit_every: Option<Duration>,
    subscriber_queue: usize,
    repack_events: bool,
    witness: Option<Arc<dyn Witness>>,
    witness_grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            inspections: 16,
            connect_limit: Duration::from_secs(10),
            list_limit: Duration::from_secs(30),
            inspect_limit: Duration::from_secs(10),
            probe_every: Some(Duration::from_secs(4)),
            probe_limit: Duration::from_secs(10),
            audit_every: Some(Duration::from_secs(60)),
            subscriber_queue: 4096,
            repack_events: false,
            witness: None,
            witness_grace: Duration::from_millis(250),
        }
    }
}

impl Settings {
    /// Sets the back-off policy.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how many inspections may be in flight at once, from 1 to 1,024; up to four times as many while
    /// some take more than 500 ms.
    #[must_use]
    pub fn with_inspections(mut self, inspections: usize) -> Self {
        self.inspections = inspections.clamp(1, MOST_INSPECTIONS);
        self
    }

    /// Sets the time limits of connecting (and of subscribing after it), listing and inspecting.
    #[must_use]
    pub fn with_limits(mut self, connect: Duration, list: Duration, inspect: Duration) -> Self {
        [self.connect_limit, self.list_limit, self.inspect_limit] = [connect, list, inspect].map(in_bounds);
        self
    }

    /// Sets after how long a silence to probe the event stream (`None`: never), and the time limit of a probe.
    #[must_use]
    pub fn with_probes(mut self, every: impl Into<Option<Duration>>, limit: Duration) -> Self {
        (self.probe_every, self.probe_limit) = (every.into().map(in_bounds), in_bounds(limit));
        self
    }

    /// Sets the interval of audits, to which a random tenth is added or subtracted; `None`: never.
    #[must_use]
    pub fn with_audits(mut self, every: impl Into<Option<Duration>>) -> Self {
        self.audit_every = every.into().map(in_bounds);
        self
    }

    /// Sets how many events a subscriber may lag behind before it receives the difference instead, from 1 to
    /// 2^20. The limit is never lower than the number of live containers, or than the number of events that
    /// were published at once.
    #[must_use]
    pub fn with_subscriber_queue(mut self, events: usize) -> Self {
        self.subscriber_queue = events.clamp(1, LONGEST_QUEUE);
        self
    }

    /// Sets whether a rucksack that was packed again is reported by [`Updated`](crate::EventKind::Updated)
    /// even if nothing else changed.
    #[must_use]
    pub fn with_repack_events(mut self, repack_events: bool) -> Self {
        self.repack_events = repack_events;
        self
    }

    /// Sets what else knows of the ends of lives; `None`, as by default: nothing.
    #[must_use]
    pub fn with_witness(mut self, witness: impl Into<Option<Arc<dyn Witness>>>) -> Self {
        self.witness = witness.into();
        self
    }

    /// Sets how long a life whose end the witness reported waits for the engine's event, which has the exit
    /// code. It does not wait while the engine cannot be reached or is silent.
    #[must_use]
    pub fn with_witness_grace(mut self, grace: Duration) -> Self {
        self.witness_grace = in_bounds(grace);
        self
    }

    /// Returns the back-off policy for connecting again, and for inspecting again after a failure.
    #[must_use]
    pub fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// Returns how many inspections may be in flight at once, not counting slow ones; 16 by default.
    #[must_use]
    pub fn inspections(&self) -> usize {
        self.inspections
    }

    /// Returns the time limit of connecting, and of subscribing after it; 10 s each by default.
    #[must_use]
    pub fn connect_limit(&self) -> Duration {
        self.connect_limit
    }

    /// Returns the time limit of a list; 30 s by default.
    #[must_use]
    pub fn list_limit(&self) -> Duration {
        self.list_limit
    }

    /// Returns the time limit of an inspection; 10 s by default.
    #[must_use]
    pub fn inspect_limit(&self) -> Duration {
        self.inspect_limit
    }

    /// Returns after how long a silence the event stream is probed; 4 s by default. `None`: never.
    #[must_use]
    pub fn probe_every(&self) -> Option<Duration> {
        self.probe_every
    }

    /// Returns the time limit of a probe; 10 s by default.
    #[must_use]
    pub fn probe_limit(&self) -> Duration {
        self.probe_limit
    }

    /// Returns the interval of audits, give or take a tenth; 60 s by default. `None`: never.
    #[must_use]
    pub fn audit_every(&self) -> Option<Duration> {
        self.audit_every
    }

    /// Returns how many events a subscriber may lag behind before it receives the difference instead, if no
    /// more containers are alive; 4,096 by default.
    #[must_use]
    pub fn subscriber_queue(&self) -> usize {
        self.subscriber_queue
    }

    /// Returns whether a rucksack that was packed again is reported even if nothing else changed; not by default.
    #[must_use]
    pub fn repack_events(&self) -> bool {
        self.repack_events
    }

    /// Returns what else knows of the ends of lives.
    #[must_use]
    pub fn witness(&self) -> Option<&Arc<dyn Witness>> {
        self.witness.as_ref()
    }

    /// Returns how long a life whose end the witness reported waits for the engine's event; 250 ms by default.
    #[must_use]
    pub fn witness_grace(&self) -> Duration {
        self.witness_grace
    }

    /// Returns the delay before the next audit, randomized so that the watchers of an engine do not audit at once.
    pub(crate) fn next_audit(&self) -> Option<Duration> {
        self.audit_every.map(|every| every.mul_f64(0.9 + fastrand::f64() / 5.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_bounds_becomes_the_nearest_valid_one() {
        for (asked, given) in [
            (Duration::ZERO, Duration::from_millis(1)),
            (Duration::from_secs(7), Duration::from_secs(7)),
            (Duration::MAX, LONGEST),
        ] {
            let backoff = Backoff::default().with_delays(asked, asked).with_healthy_after(asked);
            let settings = Settings::default()
                .with_limits(asked, asked, asked)
                .with_probes(asked, asked)
                .with_witness_grace(asked)
                .with_audits(asked)
                .with_backoff(backoff);
            let limits = [settings.connect_limit(), settings.list_limit(), settings.inspect_limit()];
            assert_eq!((limits, settings.probe_limit()), ([given; 3], given));
            assert_eq!(settings.witness_grace(), given);
            assert_eq!((settings.probe_every(), settings.audit_every()), (Some(given), Some(given)));
            let backoff = settings.backoff();
            assert_eq!((backoff.first(), backoff.longest(), backoff.healthy_after()), (given, given, given));
            assert!(settings.next_audit().unwrap() <= given * 2);
            assert!(backoff.delays().take(100).all(|delay| delay <= given));
            assert!(backoff.nth_delay(u32::MAX) <= given);
        }
        for (asked, inspections, queue) in [(0, 1, 1), (7, 7, 7), (usize::MAX, 1024, 1 << 20)] {
            let settings = Settings::default().with_inspections(asked).with_subscriber_queue(asked);
            assert_eq!((settings.inspections(), settings.subscriber_queue()), (inspections, queue));
        }
        let settings = Settings::default().with_probes(None, Duration::MAX).with_audits(None);
        assert_eq!(
            (settings.probe_every(), settings.audit_every(), settings.next_audit()),
            (None, None, None)
        );
    }
}
