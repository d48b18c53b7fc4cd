//! The engine's clock.
//!
//! `/info` contains the engine's time to the nanosecond. Answers are dated to the second, by the engine or by
//! a proxy in between, whose clock may differ: the difference is determined once, when connecting.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// By how much a time that an engine sends may be ahead of its clock. A later one counts as missing, because
/// all that follows would look old beside it.
const AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// By how much the date of an answer may differ from the time in it if both are by the same clock.
const SAME: SignedDuration = SignedDuration::from_secs(3);

/// How far back to request events where only the date of an answer is known, which may be by another clock.
const MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// By how much an event may be dated after what the clock shows, which is read to the second and before the event.
pub(crate) const SLACK: Duration = Duration::from_secs(2);

/// The engine's clock, as read when connecting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EngineClock {
    read: Option<(Timestamp, Instant)>,
    /// Whether it was read from the engine's own time.
    exact: bool,
    /// By how much it is ahead of the clock by which answers are dated.
    ahead: SignedDuration,
}

impl EngineClock {
    /// Creates a clock from the engine's own time, and the date of that answer or of another one.
    pub(crate) fn new(own: Option<Timestamp>, dated: Option<Timestamp>) -> Self {
        // Engines do not accept times before that.
        let read = own.or(dated).map(|read| (read.max(Timestamp::UNIX_EPOCH), Instant::now()));
        let ahead = match (own, dated) {
            (Some(own), Some(dated)) => own.duration_since(dated),
            _ => SignedDuration::ZERO,
        };
        let ahead = if ahead.abs() <= SAME { SignedDuration::ZERO } else { ahead };
        Self { read, exact: own.is_some(), ahead }
    }

    /// Whether it was read from the engine's own time.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// From when on to request events: never in the engine's future. `None` if its clock is not known.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        let (read, _) = self.read?;
        if self.exact { Some(read) } else { Some(read.saturating_sub(MARGIN).unwrap_or(read)) }
    }

    /// The time before which events happened before the connection; `None` if [`since`](Self::since) excludes those.
    pub(crate) fn began(&self) -> Option<SystemTime> {
        let (read, _) = self.read.filter(|_| !self.exact)?;
        SystemTime::try_from(read).ok()?.checked_sub(SLACK)
    }

    /// What the clock shows now, unless it was set since it was read.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        let (read, at) = self.read?;
        read.checked_add(SignedDuration::try_from(at.elapsed()).ok()?).ok()
    }

    /// What the clock showed when an answer with these headers was made.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<Timestamp> {
        match date(headers) {
            Some(date) => date.checked_add(self.ahead).ok(),
            None => self.now(),
        }
    }

    /// The latest time that the engine may send, by its clock or the local one, whichever is ahead.
    pub(crate) fn horizon(&self) -> SystemTime {
        let here = SystemTime::now();
        let there = self.now().and_then(|now| SystemTime::try_from(now).ok());
        let latest = there.map_or(here, |there| there.max(here));
        latest.checked_add(AHEAD).unwrap_or(latest)
    }
}

/// Returns whether an engine's clock that shows this has been set back since it reached the other time.
pub(crate) fn is_long_before(shown: Timestamp, moment: Timestamp) -> bool {
    shown.checked_add(SLACK).is_ok_and(|latest| latest < moment)
}

/// The date of an answer, in whole seconds.
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Timestamp::try_from(date).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0).unwrap()
    }

    fn dated(second: i64) -> HeaderMap {
        let date = httpdate::fmt_http_date(at(second).try_into().unwrap());
        HeaderMap::from_iter([(DATE, date.parse().unwrap())])
    }

    #[test]
    fn dates_are_read_from_the_header() {
        assert_eq!(date(&HeaderMap::new()), None);
        assert_eq!(date(&dated(1_769_860_800)), Some(at(1_769_860_800)));
        assert_eq!(date(&HeaderMap::from_iter([(DATE, "teatime".parse().unwrap())])), None);
    }

    #[test]
    fn dates_by_another_clock_are_converted() {
        for (own, date, later, expected) in [
            // The engine dates its answers itself, to the second; when its clock is set, that is followed.
            (Some(1000), Some(1000), Some(1005), Some(1005)),
            (Some(1000), Some(1002), Some(500), Some(500)),
            // A proxy dates them, and is an hour ahead.
            (Some(1000), Some(4600), Some(4605), Some(1005)),
            (Some(1000), None, Some(1005), Some(1005)),
            // Without a date, time goes on by the local clock.
            (Some(1000), Some(1000), None, Some(1005)),
            (None, Some(1000), None, Some(1005)),
            (None, None, Some(7), Some(7)),
        ] {
            let mut clock = EngineClock::new(own.map(at), date.map(at));
            clock.read = clock.read.map(|(read, at)| (read, at.checked_sub(Duration::from_secs(5)).unwrap()));
            let headers = later.map(dated).unwrap_or_default();
            let second = clock.of(&headers).map(|time| time.as_second());
            // By the local clock, for as long as the test has taken so far.
            let in_time = second == expected || later.is_none() && second > expected;
            assert!(in_time, "{own:?} {date:?} {later:?}: {second:?}");
        }
    }

    #[test]
    fn events_are_requested_from_the_engines_time_on() {
        assert_eq!(EngineClock::new(Some(at(1000)), Some(at(9000))).since(), Some(at(1000)));
        assert_eq!(EngineClock::new(None, Some(at(1000))).since(), Some(at(940)));
        assert_eq!(EngineClock::new(Some(at(-5)), None).since(), Some(Timestamp::UNIX_EPOCH));
        let nothing = EngineClock::new(None, None);
        assert_eq!((nothing.since(), nothing.of(&HeaderMap::new())), (None, None));
    }
}
