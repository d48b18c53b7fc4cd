//! When a container was started, by the words of a list.
//!
//! A list contains no start times, only `Up 3 hours (Paused)`. That is enough to detect a restart that no
//! event reported, without an inspection.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

/// How long after reading the containers an engine may date its answer.
const SLACK: Duration = Duration::from_secs(10);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Returns the bounds of the start of a container with this status in a list made at that time; `None` if the
/// words are not known.
pub(crate) fn started_within(status: &str, now: SystemTime) -> Option<RangeInclusive<SystemTime>> {
    let mut words = status.strip_prefix("Up ")?.split(' ');
    let (number, unit) = match (words.next()?, words.next()?) {
        ("Less", _) => (0, 1),
        ("About", _) => (1, unit(words.next()?)?),
        (number, word) => (number.parse::<u64>().ok()?, unit(word)?),
    };
    // Some are rounded down, some to the nearest: take a whole unit more on both sides.
    let least = Duration::from_secs(number.saturating_sub(1).checked_mul(unit)?);
    let most = Duration::from_secs(number.checked_add(2)?.checked_mul(unit)?);
    Some(now.checked_sub(most)?.checked_sub(SLACK)?..=now.checked_sub(least)?.checked_add(SLACK)?)
}

/// Returns the length of a unit in seconds.
fn unit(word: &str) -> Option<u64> {
    Some(match word.trim_end_matches('s') {
        "second" => 1,
        "minute" => MINUTE,
        "hour" => HOUR,
        "day" => DAY,
        "week" => 7 * DAY,
        "month" => 30 * DAY,
        "year" => 365 * DAY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(status: &str, seconds_up: u64) -> bool {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
        started_within(status, now).unwrap().contains(&(now - Duration::from_secs(seconds_up)))
    }

    #[test]
    fn a_status_fits_the_time_since_the_start() {
        for (status, up) in [
            ("Up Less than a second", 0),
            ("Up 1 second", 1),
            ("Up 59 seconds", 59),
            ("Up About a minute", 60),
            ("Up About a minute (healthy)", 119),
            ("Up 45 minutes (Paused)", 45 * MINUTE + 59),
            ("Up About an hour", 46 * MINUTE),
            ("Up About an hour", 89 * MINUTE),
            ("Up 2 hours", 90 * MINUTE),
            ("Up 47 hours", 47 * HOUR + 29 * MINUTE),
            ("Up 2 days", 71 * HOUR),
            ("Up 2 weeks", 20 * DAY),
            ("Up 3 months", 119 * DAY),
            ("Up 2 years", 800 * DAY),
        ] {
            assert!(fits(status, up), "{status}: {up} s");
        }
    }

    #[test]
    fn a_status_does_not_fit_a_restart() {
        for (status, up) in [
            ("Up Less than a second", 20),
            ("Up 30 seconds", 90),
            ("Up About a minute", HOUR),
            ("Up 5 minutes (Paused)", 20 * MINUTE),
            ("Up 3 hours", DAY),
            ("Up 2 days", 30 * DAY),
        ] {
            assert!(!fits(status, up), "{status}: {up} s");
        }
    }

    #[test]
    fn unknown_words_have_no_bounds() {
        let now = SystemTime::UNIX_EPOCH;
        for status in [
            "",
            "Up",
            "Up ",
            "Up 3",
            "Up 3 moons",
            "Up many hours",
            "Restarting (1) 3 seconds ago",
            "Exited (0)",
        ] {
            assert_eq!(started_within(status, now), None, "{status}");
        }
        assert!(started_within("Up 18446744073709551615 years", now).is_none());
    }
}
