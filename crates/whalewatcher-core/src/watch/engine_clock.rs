//! The engine's clock, as the watcher knows it.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

/// The clock of an engine, which may differ from this host's: start times of containers are by it.
///
/// It is read when connecting, and goes on by this host's monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineClock(Arc<Reading>);

/// What it showed when. Shared, since each status has it.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    shown: SystemTime,
    at: Instant,
}

impl EngineClock {
    /// Creates a clock that shows this time now.
    pub(crate) fn new(shown: SystemTime) -> Self {
        Self(Arc::new(Reading { shown, at: Instant::now() }))
    }

    /// Returns what the clock shows now, unless it was set since the watcher connected.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        let Reading { shown, at } = *self.0;
        shown.checked_add(at.elapsed()).unwrap_or(shown)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_goes_on() {
        let shown = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let clock = EngineClock::new(shown);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.now(), shown + Duration::from_secs(60));
    }
}
