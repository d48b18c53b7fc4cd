//! Attempts to get the event stream while changes are polled for.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::{Instant, sleep_until};

use crate::api::event_stream::EventStream;
use crate::api::events::Received;
use crate::api::session::Session;
use crate::api::stream_history::StreamHistory;

/// How far back to request events: to the poll before.
const BACK: SignedDuration = SignedDuration::from_secs(2);

/// Attempts with growing delays.
pub(crate) enum Retry<'a> {
    Waiting { until: Instant, next: Duration },
    Trying { stream: Box<EventStream<'a>>, next: Duration },
}

/// What came of an attempt so far.
pub(crate) enum Retried<'a> {
    Nothing,
    Received(Received),
    Established(Box<EventStream<'a>>),
}

impl<'a> Retry<'a> {
    /// Waits before the first attempt.
    pub(crate) fn new(session: &Session) -> Self {
        let first = session.retry().first;
        Self::Waiting { until: Instant::now() + first, next: double(session, first) }
    }

    /// Waits for what comes next. Dropping the future loses nothing.
    pub(crate) async fn step(&mut self, session: &'a Session, history: &StreamHistory) -> Retried<'a> {
        match self {
            Self::Waiting { until, next } => {
                sleep_until(*until).await;
                let since = session.clock().now().and_then(|now| now.checked_sub(BACK).ok());
                let mut stream = Box::new(EventStream::new(session, history, since));
                stream.set_unsettled();
                *self = Self::Trying { stream, next: *next };
                Retried::Nothing
            }
            Self::Trying { stream, next } => match stream.next().await {
                Ok(Some(received)) => Retried::Received(received),
                Ok(None) => {
                    let next = *next;
                    let waiting = Self::Waiting { until: Instant::now(), next };
                    match std::mem::replace(self, waiting) {
                        Self::Trying { stream, .. } => Retried::Established(stream),
                        Self::Waiting { .. } => Retried::Nothing,
                    }
                }
                Err(error) => {
                    tracing::debug!(error = error.map(|error| error.to_string()), "still no event stream");
                    let until = Instant::now() + *next;
                    *self = Self::Waiting { until, next: double(session, *next) };
                    Retried::Nothing
                }
            },
        }
    }
}

/// The delay after this one.
fn double(session: &Session, delay: Duration) -> Duration {
    delay.saturating_mul(2).min(session.retry().longest)
}
