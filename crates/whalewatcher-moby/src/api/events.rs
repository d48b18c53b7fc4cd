//! Requests for events: the event stream, and replays of events that the engine remembers.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use http::Response;
use hyper::body::Incoming;
use jiff::Timestamp;
use tokio::time::timeout;
use whalewatcher_core::EngineError;
use whalewatcher_core::adapter::EngineEvent;

use crate::api::clock::is_long_before;
use crate::api::session::{Session, escape};
use crate::decode::event::{ACTIONS, CONNECT, DISCONNECT, Decoded, HEALTH, WHAT, decode};
use crate::decode::identity::Dialect;
use crate::http::answer;
use crate::http::lines::Lines;
use crate::limits::MAX_EVENT;

/// After how much silence a replay may be complete though its answer has not ended.
const PAUSE: Duration = Duration::from_millis(500);

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Incoming>, EngineError>> + Send + 'a>>;

/// What a request for events yields.
#[derive(Debug)]
pub(crate) enum Received<E = EngineEvent> {
    /// The headers of the answer: the engine accepted the request.
    Headers,
    Event(E),
}

/// A request for events and its answer.
pub(crate) struct Request<'a> {
    session: &'a Session,
    /// What the engine's clock showed according to the headers, once they came.
    answered: Option<Timestamp>,
    progress: Progress<'a>,
}

enum Progress<'a> {
    Sent(Answer<'a>),
    Answered(Lines),
}

impl<'a> Request<'a> {
    /// Creates a request, which is sent when it is first polled.
    pub(crate) fn new(session: &'a Session, since: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        let path = path(since, until, session.dialect(), session.details().networks);
        let answer =
            async move { answer::succeeded(WHAT, session.get(&path).await?, session.budget()).await };
        Self { session, answered: None, progress: Progress::Sent(Box::pin(answer)) }
    }

    pub(crate) fn session(&self) -> &'a Session {
        self.session
    }

    /// Returns the next item; `None` at the end. Dropping the future loses nothing. A line that cannot be
    /// decoded at all is an error unless `skip` returns true for it.
    pub(crate) async fn next(
        &mut self,
        is_replay: bool,
        mut skip: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Received<Decoded>>, EngineError> {
        loop {
            match &mut self.progress {
                Progress::Sent(answer) => {
                    let answer = answer.await?;
                    self.answered = self.session.clock().of(answer.headers());
                    self.progress = Progress::Answered(Lines::new(answer.into_body(), MAX_EVENT));
                    return Ok(Some(Received::Headers));
                }
                Progress::Answered(lines) => {
                    let Some(line) = lines.next(WHAT).await? else { return Ok(None) };
                    match decode(&line, self.session.clock().horizon(), is_replay) {
                        Ok(Some(Decoded { event, may_wait })) => {
                            let event = proven(event, self.session.dialect());
                            return Ok(Some(Received::Event(Decoded { event, may_wait })));
                        }
                        Ok(None) => {}
                        Err(error) if skip(line.bytes()) => {
                            tracing::debug!(%error, "skipped a malformed event");
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

/// Returns what an event proves: podman emits these also when it could not pause the container, or not let it
/// run on.
fn proven(event: EngineEvent, dialect: Dialect) -> EngineEvent {
    match event {
        EngineEvent::Paused { id, at } | EngineEvent::Unpaused { id, at } if dialect != Dialect::Docker => {
            EngineEvent::Changed { id, at }
        }
        event => event,
    }
}

/// Calls `take` with the events in a span of the past, as far as the engine remembers them. Returns what the
/// engine's clock showed according to the answer. If that is long before the end of the span, the clock was
/// set back: the answer would not end, and nothing is taken.
///
/// The replay is complete when the answer ends, at the first event after the span, or when nothing came for a moment
/// though the engine answers: Docker Desktop and old podman do not end the answer to a request for past events.
pub(crate) async fn replay(
    session: &Session,
    since: Timestamp,
    until: Timestamp,
    mut take: impl FnMut(EngineEvent),
) -> Result<Option<Timestamp>, EngineError> {
    let latest = SystemTime::try_from(until).ok();
    let mut request = Request::new(session, Some(since), Some(until));
    loop {
        // A line that cannot be decoded here ended the event stream already.
        match timeout(PAUSE, request.next(true, |_| true)).await {
            Ok(Ok(Some(Received::Headers))) => {
                if request.answered.is_some_and(|now| is_long_before(now, until)) {
                    return Ok(request.answered);
                }
            }
            Ok(Ok(Some(Received::Event(Decoded { event, .. })))) if event.at() > latest => {
                return Ok(request.answered);
            }
            Ok(Ok(Some(Received::Event(Decoded { event, .. })))) => take(event),
            Ok(Ok(None)) => return Ok(request.answered),
            Ok(Err(error)) => return Err(error),
            Err(_) => return session.ping().await,
        }
    }
}

/// Returns the path that requests the events from `since` on, up to `until` or without end; with those of
/// networks, if these are wanted.
///
/// dockerd takes seconds and nanoseconds. podman would parse these as a floating point number, or refuse them
/// in its older versions, but keeps every digit of an RFC 3339 date.
fn path(since: Option<Timestamp>, until: Option<Timestamp>, dialect: Dialect, networks: bool) -> String {
    let moment = |name: &str, moment: Option<Timestamp>| {
        let Some(moment) = moment else { return String::new() };
        let text = match dialect {
            Dialect::Podman | Dialect::Libpod => moment.to_string(),
            Dialect::Docker => format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond()),
        };
        format!("{name}={}&", escape(&text))
    };
    let wanted = |action: &&str| networks || ![CONNECT, DISCONNECT].contains(action);
    let actions: Vec<_> = ACTIONS.into_iter().filter(wanted).map(|action| filter(action, dialect)).collect();
    let types = if networks { r#""container","network""# } else { r#""container""# };
    let filters = format!(r#"{{"type":[{types}],"event":[{}]}}"#, actions.join(","));
    format!("/events?{}{}filters={}", moment("since", since), moment("until", until), escape(&filters))
}

/// Returns the values by which to filter for an action.
///
/// dockerd would take `health_status` for the beginning of an action, and with it all other values.
fn filter(action: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::Docker if action == HEALTH => {
            ["starting", "healthy", "unhealthy"].map(|health| format!("\"{HEALTH}: {health}\"")).join(",")
        }
        _ => format!("\"{action}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_is_asked_for_what_it_calls_health_and_for_networks_if_wanted() {
        let path = |dialect, networks| {
            percent_encoding::percent_decode_str(&path(None, None, dialect, networks))
                .decode_utf8_lossy()
                .into_owned()
        };
        let docker = path(Dialect::Docker, true);
        assert!(
            docker.starts_with(r#"/events?filters={"type":["container","network"],"event":["start","#),
            "{docker}"
        );
        let health = r#""health_status: starting","health_status: healthy","health_status: unhealthy","connect","disconnect","#;
        assert!(docker.contains(health) && !docker.contains(r#""health_status""#), "{docker}");
        let podman = path(Dialect::Podman, false);
        assert!(
            podman.contains(r#""type":["container"],"#) && podman.contains(r#""health_status","#),
            "{podman}"
        );
        assert!(!podman.contains("connect"), "{podman}");
    }

    #[test]
    fn since_is_exact_in_both_dialects() {
        let since = Some(Timestamp::new(1_769_860_800, 7).unwrap());
        assert!(
            path(since, None, Dialect::Docker, false)
                .starts_with("/events?since=1769860800.000000007&filters=%7B%22type%22")
        );
        assert!(path(since, since, Dialect::Podman, false).starts_with("/events?since=2026-01-31T12%3A00%3A00.000000007Z&until=2026-01-31T12%3A00%3A00.000000007Z&filters="));
        assert!(path(None, None, Dialect::Docker, false).starts_with("/events?filters="));
    }
}
