//! Requests for events: how they are asked for, and what one of them brings.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use http::Response;
use hyper::body::Incoming;
use jiff::Timestamp;
use percent_encoding::utf8_percent_encode;
use tokio::time::{Instant, timeout};
use whalewatcher_core::EngineError;
use whalewatcher_core::adapter::EngineEvent;

use crate::api::clock::SLACK;
use crate::api::kept::Excused;
use crate::connection::{Connection, QUERY};
use crate::decode::event::{ACTIONS, WHAT, decode};
use crate::http::answer;
use crate::http::lines::Lines;
use crate::limits::MAX_EVENT;

/// After what silence a replay may be over without having ended.
const PAUSE: Duration = Duration::from_millis(500);

/// For how long after the headers a replay may take to begin and to end.
pub(crate) const REPLAY: Duration = Duration::from_secs(2);

/// How long the engine's clock is waited for.
const CLOCK_LIMIT: Duration = Duration::from_secs(3);

/// For how long it is not waited for again if it did not come: the stream is not drained meanwhile.
const CLOCK_PAUSE: Duration = Duration::from_secs(60);

/// Where to ask for what happens from `since` on, up to `until` or without end.
///
/// dockerd takes seconds and nanoseconds. podman would read these into a floating point number, or refuse them in its
/// older versions, but keeps every digit of a written date.
pub(crate) fn path(since: Option<Timestamp>, until: Option<Timestamp>, podman: bool) -> String {
    let moment = |name: &str, moment: Option<Timestamp>| {
        let Some(moment) = moment else { return String::new() };
        let text = if podman {
            moment.to_string()
        } else {
            format!("{}.{:09}", moment.as_second(), moment.subsec_nanosecond())
        };
        format!("{name}={}&", utf8_percent_encode(&text, QUERY))
    };
    let actions = ACTIONS.map(|action| format!("\"{action}\"")).join(",");
    let filters = format!(r#"{{"type":["container"],"event":[{actions}]}}"#);
    let filters = utf8_percent_encode(&filters, QUERY);
    format!("/events?{}{}filters={filters}", moment("since", since), moment("until", until))
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Incoming>, EngineError>> + Send + 'a>>;

/// What a request for events brings.
#[derive(Debug)]
pub(crate) enum Came {
    /// The answer's headers: the engine knows of the request.
    Headers,
    Event(EngineEvent),
}

/// A request for events and its answer, bit by bit.
pub(crate) struct Request<'a> {
    connection: &'a Connection,
    progress: Progress<'a>,
}

enum Progress<'a> {
    Asked(Answer<'a>),
    Answered(Lines),
}

impl<'a> Request<'a> {
    /// Is sent when it is first polled.
    fn new(connection: &'a Connection, since: Option<Timestamp>, until: Option<Timestamp>) -> Self {
        let path = path(since, until, connection.is_podman());
        let answer =
            async move { answer::succeeded(WHAT, connection.get(&path).await?, connection.memory()).await };
        Self { connection, progress: Progress::Asked(Box::pin(answer)) }
    }

    /// What comes next; `None` at the end. Nothing is lost if that is not awaited to its end. Of lines that cannot be
    /// understood at all, those that are excused are skipped.
    async fn next(
        &mut self,
        is_replay: bool,
        mut excuse: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Came>, EngineError> {
        loop {
            match &mut self.progress {
                Progress::Asked(answer) => {
                    self.progress = Progress::Answered(Lines::new(answer.await?.into_body(), MAX_EVENT));
                    return Ok(Some(Came::Headers));
                }
                Progress::Answered(lines) => {
                    let Some(line) = lines.next(WHAT).await? else { return Ok(None) };
                    match decode(&line, self.connection.clock().horizon(), is_replay) {
                        Ok(Some(event)) => return Ok(Some(Came::Event(event))),
                        Ok(None) => {}
                        Err(error) if excuse(line.bytes()) => tracing::debug!(%error, "skipped"),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

/// The event stream of a connection.
pub(crate) struct Subscription<'a> {
    request: Request<'a>,
    excused: Excused,
    /// An event that may not have happened when it says.
    doubtful: Option<EngineEvent>,
    /// What the engine's clock showed when it was read last, for a doubtful event.
    read: Option<(Instant, SystemTime)>,
    /// Whether all that came since was there already then, as replayed events are: it is not read again for these.
    is_burst: bool,
    /// When it could not be read.
    unread: Option<Instant>,
    /// While it may replay what happened before it was asked for: by when that had happened.
    began: Option<SystemTime>,
    headers: Option<Instant>,
}

impl<'a> Subscription<'a> {
    /// Asks when it is first polled.
    pub(crate) fn new(connection: &'a Connection, since: Option<Timestamp>) -> Self {
        let request = Request::new(connection, since, None);
        let began = connection.clock().began();
        Self {
            request,
            excused: connection.kept().excused(),
            doubtful: None,
            read: None,
            is_burst: false,
            unread: None,
            began,
            headers: None,
        }
    }

    /// What comes next; `None` at the end. Nothing is lost if that is not awaited to its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Came>, EngineError> {
        if self.doubtful.is_none() {
            match self.arrive().await? {
                Some(Came::Event(event)) if self.is_of_before(&event) => {
                    return Ok(Some(Came::Event(trace(event))));
                }
                Some(Came::Event(event)) if self.is_doubtful(&event) => self.doubtful = Some(event),
                came => {
                    if matches!(came, Some(Came::Headers)) {
                        self.headers = Some(Instant::now());
                    }
                    return Ok(came);
                }
            }
        }
        self.read_clock().await;
        Ok(self
            .doubtful
            .take()
            .map(|event| Came::Event(if self.is_doubtful(&event) { hint(event) } else { event })))
    }

    /// Whether the newest event may be of before it was asked for.
    pub(crate) fn is_replaying(&self) -> bool {
        self.began.is_some()
    }

    /// The same, whatever may be doubtful about it. Notes whether it was there already.
    async fn arrive(&mut self) -> Result<Option<Came>, EngineError> {
        let excused = &mut self.excused;
        let mut next = pin!(self.request.next(false, |line| excused.excuse(line)));
        if let Some(came) = next.as_mut().now_or_never() {
            return came;
        }
        self.is_burst = false;
        next.await
    }

    /// Whether it is replayed and had happened before the list that is still to come, which contains what it led to.
    fn is_of_before(&mut self, event: &EngineEvent) -> bool {
        let begun = self.headers.is_some_and(|headers| headers.elapsed() < REPLAY);
        // Events are replayed in the order in which they happened.
        self.began = self.began.filter(|began| begun && event.at().is_some_and(|at| at < *began));
        self.began.is_some()
    }

    /// Whether it is dated after what the engine's clock shows. Either that was set forward, or it was set back since the
    /// event, which is replayed: then an end may be dated after the beginning of the next life.
    fn is_doubtful(&self, event: &EngineEvent) -> bool {
        let Some(at) = event.at() else { return false };
        let latest = match self.read {
            Some((read, clock)) => clock.checked_add(read.elapsed()),
            None => self.request.connection.clock().now().and_then(|now| SystemTime::try_from(now).ok()),
        };
        latest.and_then(|latest| latest.checked_add(SLACK)).is_some_and(|latest| at > latest)
    }

    async fn read_clock(&mut self) {
        if self.is_burst || self.unread.is_some_and(|unread| unread.elapsed() < CLOCK_PAUSE) {
            return;
        }
        let clock = timeout(CLOCK_LIMIT, self.request.connection.ping()).await;
        let clock = clock.ok().and_then(Result::ok).flatten();
        match clock.and_then(|clock| SystemTime::try_from(clock).ok()) {
            Some(clock) => (self.read, self.is_burst) = (Some((Instant::now(), clock)), true),
            None => self.unread = Some(Instant::now()),
        }
    }
}

/// A reason to ask how the container is, and no more.
fn hint(event: EngineEvent) -> EngineEvent {
    match event {
        EngineEvent::Started { id, .. } => EngineEvent::Started { id, at: None, pid: None, preview: None },
        EngineEvent::Exited { id, .. }
        | EngineEvent::Paused { id, .. }
        | EngineEvent::Unpaused { id, .. }
        | EngineEvent::Changed { id, .. } => EngineEvent::Changed { id, at: None },
        other => other,
    }
}

/// A reason to look for the container in the list, and no more.
fn trace(event: EngineEvent) -> EngineEvent {
    match hint(event) {
        EngineEvent::Started { id, .. } => EngineEvent::Changed { id, at: None },
        other => other,
    }
}

/// Calls `take` with the events in a span of the past, as far as the engine remembers them.
///
/// It is over with the answer, or at the first event after the span, or when nothing came for a moment though the engine
/// answers: some do not end an answer to what lies in the past (Docker Desktop, old podman).
pub(crate) async fn replay(
    connection: &Connection,
    since: Timestamp,
    until: Timestamp,
    mut take: impl FnMut(EngineEvent),
) -> Result<(), EngineError> {
    let latest = SystemTime::try_from(until).ok();
    let mut request = Request::new(connection, Some(since), Some(until));
    loop {
        // What cannot be understood here could not be understood on the stream either.
        match timeout(PAUSE, request.next(true, |_| true)).await {
            Ok(Ok(Some(Came::Headers))) => {}
            Ok(Ok(Some(Came::Event(event)))) if event.at() > latest => return Ok(()),
            Ok(Ok(Some(Came::Event(event)))) => take(event),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => return connection.ping().await.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_reported_to_the_nanosecond_in_each_engines_way() {
        let since = Some(Timestamp::new(1_769_860_800, 7).unwrap());
        assert!(
            path(since, None, false).starts_with("/events?since=1769860800.000000007&filters=%7B%22type%22")
        );
        assert!(path(since, since, true).starts_with("/events?since=2026-01-31T12%3A00%3A00.000000007Z&until=2026-01-31T12%3A00%3A00.000000007Z&filters="));
        assert!(path(None, None, false).starts_with("/events?filters="));
    }
}
