//! Ages in their largest unit, such as `3m`.

use std::time::{Duration, SystemTime};

/// Returns the time between two moments, such as `3m`; `0s` if the first one is later by another clock.
pub(crate) fn age(then: SystemTime, now: SystemTime) -> String {
    format_duration(now.duration_since(then).unwrap_or_default())
}

/// Returns the time between two moments as `docker ps` writes it, such as `5 hours`.
pub(crate) fn human_age(then: SystemTime, now: SystemTime) -> String {
    human_duration(now.duration_since(then).unwrap_or_default())
}

/// Formats a duration as docker's `HumanDuration` does.
fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 30 * 60) / 3_600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3_600 / 24 / 365),
    }
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
    fn ages_in_words_are_those_of_docker() {
        const HOUR: u64 = 3_600;
        const DAY: u64 = 24 * HOUR;
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (120, "2 minutes"),
            (HOUR - 1, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + HOUR / 2, "2 hours"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (60 * DAY, "2 months"),
            (730 * DAY, "2 years"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn a_start_in_the_future_has_age_zero() {
        let now = SystemTime::now();
        assert_eq!(age(now + Duration::from_secs(100), now), "0s");
        assert_eq!(age(now - Duration::from_secs(100), now), "1m");
    }
}
