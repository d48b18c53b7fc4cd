//! The event stream: asked for, subscribed, read.
//!
//! That nothing is missed is `since`'s doing: the stream is asked for from a moment on, by the engine's own clock, that
//! lies before any list. dockerd sends the headers *before* it registers the listener, but then replays what it
//! remembers since that moment in one go with registering. podman reads its event log from there on.
//!
//! podman 4 sends the headers only together with the first event. So after [`PATIENCE`] the subscription counts as
//! standing there: the request is with the engine and the moment from which on it will tell is fixed. An error that
//! comes after all ends the stream.
//!
//! An event that is odd or too large in some part is still a hint, if it can be told whom it is about: that container is
//! inspected. If not, it ends the connection, and the resynchronization finds out what it was; but only once, should it be
//! replayed.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use futures_util::stream;
use http::Response;
use hyper::body::Incoming;
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use tokio::time::timeout;
use whalewatcher_core::{EngineError, EngineEvent};

use crate::answer;
use crate::connection::{Connection, QUERY};
use crate::event::{ACTIONS, WHAT, decode};
use crate::limits::MAX_EVENT;
use crate::lines::Lines;
use crate::replay::Excused;

/// How long podman is waited for to send its headers.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where to ask for what happens from `since` on, up to `until` or without end.
///
/// dockerd takes seconds and nanoseconds. podman would read these into a floating point number, or refuse them in its
/// older versions, but keeps every digit of a written date.
pub(crate) fn path(since: Timestamp, until: Option<Timestamp>, podman: bool) -> String {
    let moment = |moment: Timestamp| {
        let text = if podman {
            moment.to_string()
        } else {
            format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond())
        };
        utf8_percent_encode(&text, QUERY).to_string()
    };
    let until = until.map(|until| format!("&until={}", moment(until))).unwrap_or_default();
    let actions = ACTIONS.map(|action| format!("\"{action}\"")).join(",");
    let filters = format!(r#"{{"type":["container"],"event":[{actions}]}}"#);
    let filters = utf8_percent_encode(&filters, QUERY);
    format!("/events?since={}{until}&filters={filters}", moment(since))
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Incoming>, EngineError>> + Send + 'a>>;

enum Progress<'a> {
    /// Nobody has asked yet.
    Begun(&'a Connection),
    /// The answer's headers are still to come.
    Asked(&'a Connection, Answer<'a>),
    Reading(Reading<'a>),
    Over,
}

struct Reading<'a> {
    connection: &'a Connection,
    lines: Lines,
    excused: Excused,
}

/// The events of a connection; asks when it is first polled.
pub(crate) fn stream(connection: &Connection) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
    stream::unfold(Progress::Begun(connection), |mut progress| async {
        loop {
            progress = match progress {
                Progress::Begun(connection) => match subscribe(connection).await {
                    Ok(progress) => return Some((Ok(EngineEvent::Subscribed), progress)),
                    Err(error) => return Some((Err(error), Progress::Over)),
                },
                Progress::Asked(connection, answer) => match answer.await {
                    Ok(response) => reading(connection, response),
                    Err(error) => return Some((Err(error), Progress::Over)),
                },
                Progress::Reading(mut reading) => match reading.next().await {
                    Ok(Some(event)) => return Some((Ok(event), Progress::Reading(reading))),
                    Ok(None) => return None,
                    Err(error) => return Some((Err(error), Progress::Over)),
                },
                Progress::Over => return None,
            };
        }
    })
}

async fn subscribe(connection: &Connection) -> Result<Progress<'_>, EngineError> {
    let mut answer: Answer<'_> = Box::pin(async {
        let path = path(connection.since(), None, connection.is_podman());
        answer::succeeded(WHAT, connection.get(&path).await?).await
    });
    if !connection.is_podman() {
        return answer.await.map(|response| reading(connection, response));
    }
    match timeout(PATIENCE, &mut answer).await {
        Ok(response) => response.map(|response| reading(connection, response)),
        Err(_) => Ok(Progress::Asked(connection, answer)),
    }
}

fn reading(connection: &Connection, response: Response<Incoming>) -> Progress<'_> {
    let lines = Lines::new(response.into_body(), MAX_EVENT);
    Progress::Reading(Reading { connection, lines, excused: connection.excused() })
}

/// Tells the events in a span of the past, as far as the engine remembers them.
pub(crate) async fn replay(
    connection: &Connection,
    since: Timestamp,
    until: Timestamp,
    mut tell: impl FnMut(EngineEvent),
) -> Result<(), EngineError> {
    let path = path(since, Some(until), connection.is_podman());
    let response = answer::succeeded(WHAT, connection.get(&path).await?).await?;
    let mut lines = Lines::new(response.into_body(), MAX_EVENT);
    // What cannot be understood here could not be understood on the stream either.
    while let Some(event) = next(&mut lines, connection.horizon(), |_| true).await? {
        tell(event);
    }
    Ok(())
}

impl Reading<'_> {
    async fn next(&mut self) -> Result<Option<EngineEvent>, EngineError> {
        let excused = &mut self.excused;
        next(&mut self.lines, self.connection.horizon(), |line| excused.excuse(line)).await
    }
}

/// The next event that matters. Of lines that cannot be understood at all, those that are excused are passed over.
async fn next(
    lines: &mut Lines,
    horizon: SystemTime,
    mut excuse: impl FnMut(&[u8]) -> bool,
) -> Result<Option<EngineEvent>, EngineError> {
    while let Some(line) = lines.next(WHAT).await? {
        match decode(&line, horizon) {
            Ok(Some(event)) => return Ok(Some(event)),
            Ok(None) => {}
            Err(error) if excuse(line.bytes()) => tracing::warn!(%error, "passed over"),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_told_to_the_nanosecond_in_each_engines_way() {
        let since = Timestamp::new(1_769_860_800, 7).unwrap();
        assert!(
            path(since, None, false).starts_with("/events?since=1769860800.000000007&filters=%7B%22type%22")
        );
        assert!(path(since, Some(since), true).starts_with("/events?since=2026-01-31T12%3A00%3A00.000000007Z&until=2026-01-31T12%3A00%3A00.000000007Z&filters="));
    }
}
