//! The settings of a history.

use std::time::Duration;

use crate::settings::in_bounds;

/// The most lives that a history keeps.
const MOST_LIVES: usize = 1 << 16;

/// The fewest bytes that a history may keep: those of a few lives.
const FEWEST_BYTES: usize = 64 * 1024;

/// The most lives of a crash loop before it is one.
const LONGEST_LOOP: usize = 64;

/// The settings of a [`History`](super::History).
///
/// A value out of bounds becomes the nearest valid one.
///
/// ```
/// # use std::time::Duration;
/// # use whalewatcher_core::history::HistorySettings;
/// let settings = HistorySettings::default().with_crash_loops(3, Duration::from_secs(60)).with_lives(0);
/// assert_eq!((settings.crash_loop_lives(), settings.lives()), (3, 1));
/// ```
#[derive(Clone, Debug)]
pub struct HistorySettings {
    lives: usize,
    bytes: usize,
    crash_loop_lives: usize,
    crash_loop_time: Duration,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self {
            lives: 1000,
            bytes: 16 * 1024 * 1024,
            crash_loop_lives: 5,
            crash_loop_time: Duration::from_secs(10 * 60),
        }
    }
}

impl HistorySettings {
    /// Sets how many lives that have ended are kept, from 1 to 65,536.
    #[must_use]
    pub fn with_lives(mut self, lives: usize) -> Self {
        self.lives = lives.clamp(1, MOST_LIVES);
        self
    }

    /// Sets how many bytes these lives may take, roughly, from 64 KiB.
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes.max(FEWEST_BYTES);
        self
    }

    /// Sets how many lives of a container, from 2 to 64, must end in which time, from 1 ms, to be a crash
    /// loop. It is over when none has ended for that time.
    #[must_use]
    pub fn with_crash_loops(mut self, lives: usize, time: Duration) -> Self {
        self.crash_loop_lives = lives.clamp(2, LONGEST_LOOP);
        self.crash_loop_time = in_bounds(time);
        self
    }

    /// Returns how many lives that have ended are kept; 1,000 by default.
    #[must_use]
    pub fn lives(&self) -> usize {
        self.lives
    }

    /// Returns how many bytes these lives may take, roughly; 16 MiB by default.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns how many lives must end to be a crash loop; 5 by default.
    #[must_use]
    pub fn crash_loop_lives(&self) -> usize {
        self.crash_loop_lives
    }

    /// Returns the time in which these lives must end; 10 minutes by default.
    #[must_use]
    pub fn crash_loop_time(&self) -> Duration {
        self.crash_loop_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_bounds_becomes_the_nearest_valid_one() {
        for (asked, lives, bytes, crash_loop) in
            [(0, 1, FEWEST_BYTES, 2), (7, 7, FEWEST_BYTES, 7), (usize::MAX, MOST_LIVES, usize::MAX, 64)]
        {
            let settings = HistorySettings::default();
            let settings =
                settings.with_lives(asked).with_bytes(asked).with_crash_loops(asked, Duration::ZERO);
            assert_eq!((settings.lives(), settings.bytes()), (lives, bytes));
            assert_eq!(settings.crash_loop_lives(), crash_loop);
            assert_eq!(settings.crash_loop_time(), Duration::from_millis(1));
        }
    }
}
