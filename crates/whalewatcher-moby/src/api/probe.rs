//! Detects whether an event stream that is silent is stalled.
//!
//! The engine remembers its last 256 events. On request it lists those up to now on another connection, which
//! the stream should have delivered. The request names an end, because the answer to an open one would not
//! end either. That end is the engine's time: by its answer to a ping, or as estimated from the answer to the
//! previous probe, which saves the ping.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::time::Instant;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::api::clock::is_long_before;
use crate::api::events;
use crate::api::session::Session;
use crate::api::stream_start::{Start, StreamStart};
use crate::decode::identity::Dialect;

/// How long an answer serves to estimate the engine's clock.
const ESTIMATED: Duration = Duration::from_secs(60);

/// What the engine's clock showed according to the answer to the newest probe, and when that came.
#[derive(Debug, Default)]
pub(crate) struct ProbeClock(Mutex<Option<(Timestamp, Instant)>>);

impl ProbeClock {
    fn set(&self, shown: Option<Timestamp>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown.map(|shown| (shown, Instant::now()));
    }

    /// Returns what the clock shows now, unless it was set meanwhile.
    fn estimate(&self) -> Option<Timestamp> {
        let (shown, at) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let elapsed = at.elapsed();
        if elapsed > ESTIMATED { None } else { shown.checked_add(elapsed).ok() }
    }
}

/// The time of the newest event after `since`, or after the stream began, that the stream should have delivered.
pub(crate) async fn newest_event(
    session: &Session,
    start: &StreamStart,
    clock: &ProbeClock,
    since: Option<SystemTime>,
) -> Result<Option<SystemTime>, EngineError> {
    let Start::Since(begun) = start.get() else {
        session.ping().await?;
        return Ok(None);
    };
    let since = since.and_then(|since| Timestamp::try_from(since).ok()).max(begun);
    // podman reads its log, and may be slow to.
    let estimate = clock.estimate().filter(|_| session.dialect() == Dialect::Docker);
    if let (Some(until), Some(since)) = (estimate, since)
        && until > since
        && let Ok((newest, Some(shown))) = newest_between(session, since, until).await
        && !is_long_before(shown, until)
    {
        clock.set(Some(shown));
        return Ok(newest);
    }
    let now = session.ping().await?;
    clock.set(now);
    let (Some(until), Some(since)) = (now, since) else { return Ok(None) };
    if until <= since {
        return Ok(None);
    }
    match newest_between(session, since, until).await {
        // It answered the ping, so the engine is not dead.
        Err(error) if matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::TimedOut) => {
            session.check_socket()?;
            tracing::debug!(%error, "probing without recent events");
            Ok(None)
        }
        answer => answer.map(|(newest, _)| newest),
    }
}

/// Returns the time of the newest event in a span, and what the engine's clock showed according to the answer.
async fn newest_between(
    session: &Session,
    since: Timestamp,
    until: Timestamp,
) -> Result<(Option<SystemTime>, Option<Timestamp>), EngineError> {
    let mut newest = None;
    let shown = events::replay(session, since, until, |event| newest = newest.max(event.at())).await?;
    Ok((newest.filter(|newest| Timestamp::try_from(*newest).is_ok_and(|newest| newest > since)), shown))
}
