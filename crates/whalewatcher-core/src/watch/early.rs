//! Limits the attempts that do not wait for the back-off.

use std::time::Duration;

use tokio::time::Instant;

/// How many may follow each other at once.
const BURST: u32 = 5;

/// After how long there may be another one.
const EVERY: Duration = Duration::from_secs(1);

/// The attempts that did not wait for the back-off: five at once, and one a second on average.
#[derive(Default)]
pub(super) struct EarlyAttempts {
    /// When there may be [`BURST`] at once again; `None` if there was none yet.
    rested: Option<Instant>,
}

impl EarlyAttempts {
    /// Returns when the next one may be.
    pub(super) fn next(&self) -> Instant {
        let now = Instant::now();
        let used = self.rested.map_or(Duration::ZERO, |rested| rested.saturating_duration_since(now));
        now + used.saturating_sub(EVERY * (BURST - 1))
    }

    /// Records one.
    pub(super) fn record(&mut self, now: Instant) {
        self.rested = Some(self.rested.map_or(now, |rested| rested.max(now)) + EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn five_attempts_may_be_at_once_and_then_one_a_second() {
        let mut early = EarlyAttempts::default();
        let begun = Instant::now();
        let mut seconds = Vec::new();
        for _ in 0..8 {
            tokio::time::sleep_until(early.next()).await;
            early.record(Instant::now());
            seconds.push(begun.elapsed().as_secs_f32());
        }
        assert_eq!(seconds, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0]);
        tokio::time::advance(EVERY * 3).await;
        for expected in [0, 0, 0, 1] {
            let waited = early.next() - Instant::now();
            assert_eq!(waited.as_secs(), expected);
            tokio::time::sleep_until(early.next()).await;
            early.record(Instant::now());
        }
    }
}
