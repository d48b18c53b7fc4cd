//! Detects whether an event stream that is silent is stalled.
//!
//! The engine remembers its last 256 events. On request it lists those up to now on another connection, which the stream
//! should have delivered. The request names an end, because the answer to an open one would not end either.

use std::time::SystemTime;

use jiff::Timestamp;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::api::events;
use crate::api::session::Session;
use crate::api::stream_start::{Start, StreamStart};

/// The time of the newest event after `since`, or after the stream began, that the stream should have delivered.
pub(crate) async fn newest_event(
    session: &Session,
    start: &StreamStart,
    since: Option<SystemTime>,
) -> Result<Option<SystemTime>, EngineError> {
    let now = session.ping().await?;
    let Start::Since(begun) = start.get() else { return Ok(None) };
    let since = since.and_then(|since| Timestamp::try_from(since).ok()).max(begun);
    let (Some(until), Some(since)) = (now, since) else { return Ok(None) };
    if until <= since {
        return Ok(None);
    }
    let mut newest = None;
    match events::replay(session, since, until, |event| newest = newest.max(event.at())).await {
        // It answered the ping, so the engine is not dead.
        Err(error) if matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::TimedOut) => {
            session.check_socket()?;
            tracing::debug!(%error, "probing without recent events");
        }
        replayed => replayed?,
    }
    Ok(newest.filter(|newest| Timestamp::try_from(*newest).is_ok_and(|newest| newest > since)))
}
