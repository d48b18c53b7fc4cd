//! Whether an event stream that is silent may be dead.
//!
//! The engine remembers its last 256 events. Asked for those up to now, on another connection, it lists at once what the
//! stream should have brought. Up to now, because the answer to an open end would not end either.

use std::time::SystemTime;

use jiff::Timestamp;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::api::events;
use crate::connection::{Connection, Stream};

/// The time of the newest event after `since`, or after the stream was begun, that the stream should have brought.
pub(crate) async fn newest_event(
    connection: &Connection,
    since: Option<SystemTime>,
) -> Result<Option<SystemTime>, EngineError> {
    let now = connection.ping().await?;
    let Stream::Since(begun) = connection.stream() else { return Ok(None) };
    let since = since.and_then(|since| Timestamp::try_from(since).ok()).max(begun);
    let (Some(until), Some(since)) = (now, since) else { return Ok(None) };
    if until <= since {
        return Ok(None);
    }
    let mut newest = None;
    match events::replay(connection, since, until, |event| newest = newest.max(event.at())).await {
        // It answered the ping, so it is not dead.
        Err(error) if matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::TimedOut) => {
            connection.still_there()?;
            tracing::debug!(%error, "a check without the events of late");
        }
        replayed => replayed?,
    }
    Ok(newest.filter(|newest| Timestamp::try_from(*newest).is_ok_and(|newest| newest > since)))
}
