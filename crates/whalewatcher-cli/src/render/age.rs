//! Ages in their largest unit, such as `3m`.

use std::time::{Duration, SystemTime};

/// Returns the time between two moments, such as `3m`; `0s` if the first one is later by another clock.
pub(crate) fn age(then: SystemTime, now: SystemTime) -> String {
    format_duration(now.duration_since(then).unwrap_or_default())
}

fn format_duration(duration: Duration) -> String {
    const UNITS: [(u64, &str); 3] = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
    let seconds = duration.as_secs();
    match UNITS.into_iter().find(|(length, _)| seconds >= *length) {
        Some((length, unit)) => format!("{}{unit}", seconds / length),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_their_largest_unit() {
        let reported = [0, 1, 59, 60, 119, 3_599, 3_600, 86_399, 86_400, 400 * 86_400]
            .map(|seconds| format_duration(Duration::from_secs(seconds)));
        assert_eq!(reported, ["0s", "1s", "59s", "1m", "1m", "59m", "1h", "23h", "1d", "400d"]);
    }

    #[test]
    fn a_start_in_the_future_has_age_zero() {
        let now = SystemTime::now();
        assert_eq!(age(now + Duration::from_secs(100), now), "0s");
        assert_eq!(age(now - Duration::from_secs(100), now), "1m");
    }
}
