//! Decodes CRI's times: nanoseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Converts a time; 0 and times before 1970 are `None`.
pub(crate) fn moment(nanoseconds: i64) -> Option<SystemTime> {
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds != 0)?;
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
}

/// Returns the end of a life, always after its beginning. A runtime may read the clock for the beginning only when the
/// process has already ended, and so report them in the wrong order.
pub(crate) fn end(finished: Option<SystemTime>, began: Option<SystemTime>) -> Option<SystemTime> {
    match (finished, began) {
        (Some(finished), Some(began)) if finished <= began => began.checked_add(Duration::from_nanos(1)),
        _ => finished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_times_are_none() {
        assert_eq!(moment(0), None);
        assert_eq!(moment(-1), None);
        // Go's zero time in nanoseconds.
        assert_eq!(moment(-6_795_364_578_871_345_152), None);
        assert_eq!(moment(1_500_000_000), Some(UNIX_EPOCH + Duration::from_millis(1500)));
        assert!(moment(i64::MAX).is_some());
    }

    #[test]
    fn an_end_is_after_the_beginning() {
        let at = |nanoseconds| moment(nanoseconds);
        for (finished, began, expected) in [(5, 3, 5), (5, 5, 6), (3, 5, 6), (3, 0, 3), (0, 5, 0), (0, 0, 0)]
        {
            assert_eq!(end(at(finished), at(began)), at(expected), "{finished} {began}");
        }
    }
}
