//! Whether an event stream that is silent may be dead.
//!
//! The engine remembers its last 256 events. Asked for those up to now, on another connection, it tells at once what the
//! stream should have brought. Up to now, because the answer to an open end would not end either.

use std::time::SystemTime;

use http::HeaderMap;
use http::header::DATE;
use jiff::Timestamp;
use whalewatcher_core::EngineError;

use crate::answer;
use crate::connection::Connection;
use crate::events;
use crate::limits::MAX_IDENTITY;

const PING: &str = "GET /_ping";

/// The time of the newest event after `since`, or after the connection was made, that the stream should have brought.
pub(crate) async fn newest_event(
    connection: &Connection,
    since: Option<SystemTime>,
) -> Result<Option<SystemTime>, EngineError> {
    let ping = answer::succeeded(PING, connection.get("/_ping").await?).await?;
    let now = date(ping.headers());
    answer::read(PING, ping, MAX_IDENTITY).await?;
    let now = now.and_then(|now| Timestamp::try_from(now).ok());
    let since = since.and_then(|since| Timestamp::try_from(since).ok()).unwrap_or(connection.since());
    let Some(until) = now.filter(|now| *now > since) else { return Ok(None) };

    let mut newest = None;
    events::replay(connection, since, until, |event| newest = newest.max(event.at())).await?;
    Ok(newest.filter(|newest| Timestamp::try_from(*newest).is_ok_and(|newest| newest > since)))
}

/// What time it is there, in whole seconds.
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_engines_clock_is_read_from_the_date() {
        let mut headers = HeaderMap::new();
        assert_eq!(date(&headers), None);
        headers.insert(DATE, "Sat, 31 Jan 2026 12:00:00 GMT".parse().unwrap());
        assert_eq!(date(&headers), Some(UNIX_EPOCH + Duration::from_secs(1_769_860_800)));
        headers.insert(DATE, "teatime".parse().unwrap());
        assert_eq!(date(&headers), None);
    }
}
