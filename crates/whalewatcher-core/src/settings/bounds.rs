//! The bounds of durations in settings.

use std::time::Duration;

/// The longest duration in settings, about 30 years: longer than any watch lasts.
pub(crate) const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// The shortest duration in settings.
const SHORTEST: Duration = Duration::from_millis(1);

/// Returns the nearest valid duration.
pub(crate) fn in_bounds(duration: Duration) -> Duration {
    duration.clamp(SHORTEST, LONGEST)
}
