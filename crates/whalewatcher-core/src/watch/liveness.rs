//! Notices an event stream that is dead though its connection looks alive.
//!
//! A connection can be half open: nothing comes any more, and nothing says so. So whenever the stream has been silent for
//! a while, the engine is asked other than by it whether it still answers, and for the newest event that it knows of. An
//! event that the stream does not bring within a short grace shows that the stream is dead.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::model::{EngineError, ErrorKind, is_silence};

/// How long a stream may take to bring an event of which the engine showed elsewhere that it happened.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// What is known of a stream's liveness.
pub(crate) struct Liveness {
    every: Duration,
    /// When to check next.
    due: Instant,
    /// The newest time that the stream told.
    newest: Option<SystemTime>,
    /// Whether the engine told elsewhere of an event that the stream had not brought by then.
    suspicious: bool,
}

impl Liveness {
    /// Of a stream that was just begun, to be checked whenever it was silent for so long.
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, due: Instant::now() + every, newest: None, suspicious: false }
    }

    /// The stream brought something.
    pub(crate) fn heard(&mut self, at: Option<SystemTime>) {
        self.newest = self.newest.max(at);
        self.due = Instant::now() + self.every;
    }

    /// When to check next, unless something is heard before.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// The newest time that the stream told.
    pub(crate) fn newest(&self) -> Option<SystemTime> {
        self.newest
    }

    /// Takes in what a check told: an error is the stream's death.
    pub(crate) fn checked(
        &mut self,
        answer: Result<Option<SystemTime>, EngineError>,
    ) -> Result<(), EngineError> {
        let reported = match answer {
            Ok(reported) => reported,
            Err(error) if is_silence(&error) => return Err(error),
            // Whatever it says, it answers.
            Err(_) => None,
        };
        let owed = reported > self.newest;
        if owed && self.suspicious {
            let message = "the event stream is dead: it keeps silent about what happened since";
            return Err(EngineError::new(ErrorKind::Disconnected, message));
        }
        self.suspicious = owed;
        self.due = Instant::now() + if owed { GRACE } else { self.every };
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
    async fn whatever_is_heard_puts_the_next_check_off_and_the_newest_time_counts() {
        let mut liveness = Liveness::new(EVERY);
        assert_eq!((liveness.due(), liveness.newest()), (Instant::now() + EVERY, None));
        tokio::time::advance(EVERY).await;
        for (time, newest) in [(at(7), at(7)), (at(5), at(7)), (None, at(7)), (at(8), at(8))] {
            liveness.heard(time);
            assert_eq!((liveness.due(), liveness.newest()), (Instant::now() + EVERY, newest));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_owes_an_event_for_longer_than_the_grace_is_dead() {
        let mut liveness = Liveness::new(EVERY);
        liveness.heard(at(7));
        for known in [None, at(6), at(7)] {
            for _ in 0..2 {
                liveness.checked(Ok(known)).unwrap();
                assert_eq!(liveness.due(), Instant::now() + EVERY, "{known:?} is not owed");
            }
        }
        liveness.checked(Ok(at(8))).unwrap();
        assert_eq!(liveness.due(), Instant::now() + GRACE);
        liveness.heard(at(8));
        liveness.checked(Ok(at(8))).unwrap();
        liveness.checked(Ok(at(9))).unwrap();
        assert_eq!(liveness.checked(Ok(at(9))).unwrap_err().kind(), ErrorKind::Disconnected);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_an_answer_unless_it_means_that_there_was_none() {
        let silence = [ErrorKind::TimedOut, ErrorKind::Disconnected, ErrorKind::Unreachable];
        let answers = [ErrorKind::Failed, ErrorKind::Malformed, ErrorKind::PermissionDenied];
        for kind in silence.into_iter().chain(answers) {
            let reported = Liveness::new(EVERY).checked(Err(EngineError::new(kind, "scripted")));
            assert_eq!(reported.is_err(), silence.contains(&kind), "{kind:?}");
        }
    }
}
