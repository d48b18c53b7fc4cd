//! The engine's clock, as the watcher knows it.

use std::time::{Duration, SystemTime};

/// The clock of an engine, which may differ from this host's: start times of containers are by it.
///
/// The difference is determined when connecting, so this clock goes on while the host is suspended, and
/// follows when the host's is set, as that of an engine on this host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineClock(Difference);

/// By how much it differs from this host's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    Ahead(Duration),
    Behind(Duration),
}

impl EngineClock {
    /// Creates a clock that shows this time now.
    pub(crate) fn new(shown: SystemTime) -> Self {
        Self(match shown.duration_since(SystemTime::now()) {
            Ok(ahead) => Difference::Ahead(ahead),
            Err(behind) => Difference::Behind(behind.duration()),
        })
    }

    /// Returns what the clock shows now, if neither clock was set alone since the watcher connected.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        let here = SystemTime::now();
        let there = match self.0 {
            Difference::Ahead(ahead) => here.checked_add(ahead),
            Difference::Behind(behind) => here.checked_sub(behind),
        };
        there.unwrap_or(here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_with_its_difference() {
        const HOURS: Duration = Duration::from_secs(40 * 60 * 60);
        let before = SystemTime::now();
        for shown in [before + HOURS, before - HOURS, before] {
            let clock = EngineClock::new(shown);
            let now = clock.now();
            let passed = SystemTime::now().duration_since(before).unwrap();
            assert!((shown..=shown + passed).contains(&now), "{shown:?} {now:?}");
        }
        assert!(EngineClock(Difference::Ahead(Duration::MAX)).now() >= before);
    }
}
