//! Notices an event stream that is stalled though its connection looks alive.
//!
//! A connection can be half open: nothing arrives any more, and no error is reported. So whenever the stream
//! has been silent for a while, the engine is probed by other means: whether it still answers, and for the
//! newest event that it knows of. A stream that does not deliver that event within a grace period is stalled.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::model::{EngineError, ErrorKind, is_silence};
use crate::reconciler::GRACE;

/// When to probe a stream, and what the probes returned.
pub(crate) struct Probe {
    every: Duration,
    /// When to probe next.
    due: Instant,
    /// The newest time of an event that the stream delivered.
    newest: Option<SystemTime>,
    /// Whether the newest probe returned an event that the stream had not delivered by then.
    is_behind: bool,
}

impl Probe {
    /// Probes a stream that was just subscribed to, whenever it was silent for so long.
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self { every, due: now + every, newest: None, is_behind: false }
    }

    /// Records that the stream delivered an event, with its time.
    pub(crate) fn record_event(&mut self, at: Option<SystemTime>, now: Instant) {
        self.newest = self.newest.max(at);
        self.due = now + self.every;
    }

    /// When to probe next, unless an event comes before.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// The newest time of an event that the stream delivered.
    pub(crate) fn newest(&self) -> Option<SystemTime> {
        self.newest
    }

    /// Records the answer of a probe: the newest event that the engine reports.
    ///
    /// # Errors
    ///
    /// If nothing answered, or if the stream is stalled.
    pub(crate) fn record_answer(
        &mut self,
        answer: Result<Option<SystemTime>, EngineError>,
        now: Instant,
    ) -> Result<(), EngineError> {
        let reported = match answer {
            Ok(reported) => reported,
            Err(error) if is_silence(&error) => return Err(error),
            // Whatever the error is, the engine answers.
            Err(_) => None,
        };
        let is_behind = reported > self.newest;
        if is_behind && self.is_behind {
            let message =
                "event stream is stalled: the engine reports newer events than the stream delivered";
            return Err(EngineError::new(ErrorKind::Disconnected, message));
        }
        self.is_behind = is_behind;
        self.due = now + if is_behind { GRACE } else { self.every };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(4);

    fn at(seconds: u64) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_puts_the_next_probe_off_and_the_newest_time_counts() {
        let mut probe = Probe::new(EVERY, Instant::now());
        assert_eq!((probe.due(), probe.newest()), (Instant::now() + EVERY, None));
        tokio::time::advance(EVERY).await;
        for (time, newest) in [(at(7), at(7)), (at(5), at(7)), (None, at(7)), (at(8), at(8))] {
            probe.record_event(time, Instant::now());
            assert_eq!((probe.due(), probe.newest()), (Instant::now() + EVERY, newest));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_lacks_an_event_for_longer_than_the_grace_period_is_stalled() {
        let mut probe = Probe::new(EVERY, Instant::now());
        probe.record_event(at(7), Instant::now());
        for known in [None, at(6), at(7)] {
            for _ in 0..2 {
                probe.record_answer(Ok(known), Instant::now()).unwrap();
                assert_eq!(probe.due(), Instant::now() + EVERY, "the stream delivered {known:?}");
            }
        }
        probe.record_answer(Ok(at(8)), Instant::now()).unwrap();
        assert_eq!(probe.due(), Instant::now() + GRACE);
        probe.record_event(at(8), Instant::now());
        probe.record_answer(Ok(at(8)), Instant::now()).unwrap();
        probe.record_answer(Ok(at(9)), Instant::now()).unwrap();
        assert_eq!(
            probe.record_answer(Ok(at(9)), Instant::now()).unwrap_err().kind(),
            ErrorKind::Disconnected
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_an_answer_unless_nothing_answered() {
        let silence = [ErrorKind::TimedOut, ErrorKind::Disconnected, ErrorKind::Unreachable];
        let answers = [ErrorKind::Failed, ErrorKind::Malformed, ErrorKind::PermissionDenied];
        for kind in silence.into_iter().chain(answers) {
            let reported = Probe::new(EVERY, Instant::now())
                .record_answer(Err(EngineError::new(kind, "scripted")), Instant::now());
            assert_eq!(reported.is_err(), silence.contains(&kind), "{kind:?}");
        }
    }
}
