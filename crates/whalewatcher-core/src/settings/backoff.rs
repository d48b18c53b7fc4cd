//! The delays between attempts.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::bounds::in_bounds;

/// Growing delays with jitter, for reconnecting to an engine.
///
/// By default from 100 ms, doubling, up to 10 s, without an end. Each delay is shortened at random by up to
/// half, so that watchers that lost the same engine do not all reconnect at once. Durations are from 1 ms to
/// 10^9 s; others are replaced by the nearest bound.
///
/// # Early attempts
///
/// A delay ends early when the engine's socket is bound again, where the system reports that: on Linux, for
/// unix sockets. The attempt counts as any other. There are at most five early attempts at once, and one a
/// second on average, however often the socket is bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: Option<usize>,
    healthy_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            attempts: None,
            healthy_after: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    /// Sets the first delay and the longest one, which is at least as long as the first.
    #[must_use]
    pub fn with_delays(mut self, first: Duration, longest: Duration) -> Self {
        (self.first, self.longest) = (in_bounds(first), in_bounds(longest.max(first)));
        self
    }

    /// Sets after how many failed attempts in a row, at least 1, to give up.
    #[must_use]
    pub fn with_attempts(mut self, attempts: usize) -> Self {
        self.attempts = Some(attempts.max(1));
        self
    }

    /// Sets how long a connection must have been live for the next delay to be the first again.
    #[must_use]
    pub fn with_healthy_after(mut self, healthy_after: Duration) -> Self {
        self.healthy_after = in_bounds(healthy_after);
        self
    }

    /// The first delay.
    #[must_use]
    pub fn first(&self) -> Duration {
        self.first
    }

    /// The longest delay.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// After how many failed attempts in a row to give up; `None`: never.
    #[must_use]
    pub fn attempts(&self) -> Option<usize> {
        self.attempts
    }

    /// How long a connection must have been live for the next delay to be the first again.
    #[must_use]
    pub fn healthy_after(&self) -> Duration {
        self.healthy_after
    }

    /// The delay after so many failures in a row (at least one), without a limit of attempts.
    pub(crate) fn nth_delay(&self, failures: u32) -> Duration {
        // Doubling reaches any longest delay long before that.
        let nth = failures.clamp(1, 32) as usize - 1;
        Self { attempts: None, ..self.clone() }.delays().nth(nth).unwrap_or(self.longest)
    }

    /// Returns the delays, from the first one on.
    pub(crate) fn delays(&self) -> Delays {
        let builder = ExponentialBuilder::new().with_min_delay(self.first).with_max_delay(self.longest);
        Delays(match self.attempts {
            Some(attempts) => builder.with_max_times(attempts - 1).build(),
            None => builder.without_max_times().build(),
        })
    }
}

/// The delays after the first failed attempt, the second one and so on; `None` after the last attempt.
pub(crate) struct Delays(ExponentialBackoff);

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|delay| delay.mul_f64(1.0 - fastrand::f64() / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_jitter_takes_at_most_half() {
        let mut whole = Duration::from_millis(100);
        for delay in Backoff::default().delays().take(40) {
            assert!(
                delay <= whole && delay >= whole / 2,
                "{delay:?} is not between half and all of {whole:?}"
            );
            whole = (whole * 2).min(Duration::from_secs(10));
        }
    }

    #[test]
    fn delays_differ_from_one_watcher_to_the_next() {
        let all: Vec<Vec<_>> = (0..8).map(|_| Backoff::default().delays().take(4).collect()).collect();
        assert!(all.iter().any(|delays| *delays != all[0]));
    }

    #[test]
    fn settings_are_returned_as_set() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let backoff = Backoff::default().with_delays(second, minute).with_attempts(3);
        let backoff = backoff.with_healthy_after(minute);
        assert_eq!((backoff.first(), backoff.longest()), (second, minute));
        assert_eq!((backoff.attempts(), backoff.healthy_after()), (Some(3), minute));
        let backoff = Backoff::default().with_delays(minute, second);
        assert_eq!(
            (backoff.first(), backoff.longest()),
            (minute, minute),
            "the first is no longer than the longest"
        );
    }

    #[test]
    fn the_nth_delay_has_no_limit_of_attempts() {
        let backoff = Backoff::default().with_attempts(2);
        for (failures, millis) in
            [(0, 100), (1, 100), (2, 200), (5, 1600), (1000, 10_000), (u32::MAX, 10_000)]
        {
            let (delay, whole) = (backoff.nth_delay(failures), Duration::from_millis(millis));
            assert!(delay <= whole && delay >= whole / 2, "{failures} failures: {delay:?}");
        }
    }

    #[test]
    fn three_attempts_have_two_delays_between_them() {
        assert_eq!(Backoff::default().with_attempts(3).delays().take(9).count(), 2);
        for least in [0, 1] {
            assert_eq!(Backoff::default().with_attempts(least).delays().take(9).count(), 0);
        }
    }
}
