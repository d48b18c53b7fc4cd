//! The engine's clock: everything that carries a time (events, start times, the `Date` header) reads it.
//! It follows real time, or real time shifted (an engine whose clock is wrong), or moves only when stepped.

#[cfg(feature = "docker")]
use std::pin::Pin;
use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// The clock of an engine. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Arc<watch::Sender<Reading>>);

#[derive(Clone, Copy, Debug)]
enum Reading {
    Running { ahead: SignedDuration },
    Standing(Timestamp),
}

impl Reading {
    fn now(self) -> Timestamp {
        match self {
            Self::Running { ahead } => moved(Timestamp::now(), ahead),
            Self::Standing(at) => at,
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::real()
    }
}

impl Clock {
    /// A clock that shows real time.
    pub fn real() -> Self {
        Self::shifted(SignedDuration::ZERO)
    }

    /// A clock that runs like real time, but shows it ahead (or, if negative, behind) by this much.
    pub fn shifted(ahead: SignedDuration) -> Self {
        Self(Arc::new(watch::Sender::new(Reading::Running { ahead })))
    }

    /// A clock that stands still at this time until it is [advanced](Self::advance).
    pub fn stepped(at: Timestamp) -> Self {
        Self(Arc::new(watch::Sender::new(Reading::Standing(at))))
    }

    /// What the clock shows.
    pub fn now(&self) -> Timestamp {
        self.0.borrow().now()
    }

    /// Moves the clock forward; one that runs goes on running from there.
    pub fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        self.0.send_modify(|reading| match reading {
            Reading::Running { ahead } => *ahead = ahead.saturating_add(by),
            Reading::Standing(at) => *at = moved(*at, by),
        });
    }

    /// Sets the clock, backwards too; one that runs goes on running from there.
    pub fn set(&self, to: Timestamp) {
        self.0.send_modify(|reading| match reading {
            Reading::Running { ahead } => *ahead = to.duration_since(Timestamp::now()),
            Reading::Standing(at) => *at = to,
        });
    }

    /// Resolves once the clock shows this time or a later one.
    #[cfg(feature = "docker")]
    pub(crate) fn reached(&self, time: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut reading = self.0.subscribe();
        Box::pin(async move {
            loop {
                let now = *reading.borrow_and_update();
                let missing = time.duration_since(now.now());
                let changed = async {
                    if reading.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                match (now, Duration::try_from(missing)) {
                    (_, Err(_) | Ok(Duration::ZERO)) => return,
                    (Reading::Standing(_), Ok(_)) => changed.await,
                    // Ends at a change of the clock or after the time that is missing: either way, look again.
                    (Reading::Running { .. }, Ok(missing)) => {
                        let _ = tokio::time::timeout(missing, changed).await;
                    }
                }
            }
        })
    }
}

fn moved(time: Timestamp, by: SignedDuration) -> Timestamp {
    let limit = if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    time.checked_add(by).unwrap_or(limit)
}
