//! The bounds of durations in settings.

use std::time::Duration;

/// Longer than any watch lasts: about 30 years. No duration in settings is longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// No duration in settings is shorter.
const SHORTEST: Duration = Duration::from_millis(1);

/// The nearest duration that settings may have.
pub(crate) fn in_bounds(duration: Duration) -> Duration {
    duration.clamp(SHORTEST, LONGEST)
}
