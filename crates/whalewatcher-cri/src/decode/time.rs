//! CRI's times: nanoseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment; none if there is none, or none of this epoch.
pub(crate) fn moment(nanoseconds: i64) -> Option<SystemTime> {
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds != 0)?;
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))
}

/// When a life ended that began then. An end is never before its beginning, though what tells of both may say so: a
/// runtime may look at the clock for the beginning only when the process is gone already.
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
    fn what_is_no_time_is_none() {
        assert_eq!(moment(0), None);
        assert_eq!(moment(-1), None);
        // Go's zero time in nanoseconds.
        assert_eq!(moment(-6_795_364_578_871_345_152), None);
        assert_eq!(moment(1_500_000_000), Some(UNIX_EPOCH + Duration::from_millis(1500)));
        assert!(moment(i64::MAX).is_some());
    }

    #[test]
    fn an_end_is_after_its_beginning() {
        let at = |nanoseconds| moment(nanoseconds);
        for (finished, began, expected) in [(5, 3, 5), (5, 5, 6), (3, 5, 6), (3, 0, 3), (0, 5, 0), (0, 0, 0)]
        {
            assert_eq!(end(at(finished), at(began)), at(expected), "{finished} {began}");
        }
    }
}
