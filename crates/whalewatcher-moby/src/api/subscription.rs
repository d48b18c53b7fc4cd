//! The event stream of a connection: which of its events can be taken at their word.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};
use whalewatcher_core::EngineError;
use whalewatcher_core::adapter::EngineEvent;

use crate::api::clock::SLACK;
use crate::api::deferred::Deferred;
use crate::api::events::{Received, Request};
use crate::api::session::Session;
use crate::api::stream_history::{SkipList, StreamHistory};
use crate::decode::event::Decoded;

/// How long after the headers a replay may take to begin and to end.
pub(crate) const REPLAY: Duration = Duration::from_secs(2);

/// How long to wait for the engine's clock.
const CLOCK_LIMIT: Duration = Duration::from_secs(3);

/// How long not to ask again for a clock that could not be read: the stream is not drained while it is waited for.
const CLOCK_PAUSE: Duration = Duration::from_secs(60);

/// The event stream of a connection.
pub(crate) struct Subscription<'a> {
    request: Request<'a>,
    skip_list: SkipList,
    deferred: Deferred,
    /// An event whose time may be wrong.
    doubtful: Option<EngineEvent>,
    /// When the engine's clock was read last, and what it showed, for doubtful events.
    clock_read: Option<(Instant, SystemTime)>,
    /// Whether all events since then were received already at that time, as replayed events are: the clock is not read
    /// again for these.
    is_burst: bool,
    /// When reading the clock failed last.
    clock_failed: Option<Instant>,
    /// While the stream may replay events from before the connection: they are dated before this.
    began: Option<SystemTime>,
    /// When the headers came.
    headers: Option<Instant>,
}

impl<'a> Subscription<'a> {
    /// Creates a stream, which is requested when it is first polled.
    pub(crate) fn new(session: &'a Session, history: &StreamHistory, since: Option<Timestamp>) -> Self {
        Self {
            request: Request::new(session, since, None),
            skip_list: history.skip_list(),
            deferred: Deferred::default(),
            doubtful: None,
            clock_read: None,
            is_burst: false,
            clock_failed: None,
            began: session.clock().began(),
            headers: None,
        }
    }

    /// Returns the next item; `None` at the end. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Received>, EngineError> {
        if self.doubtful.is_none() {
            match self.receive().await? {
                Some(Received::Event(event)) if self.is_from_before(&event) => {
                    return Ok(Some(Received::Event(without_start(event))));
                }
                Some(Received::Event(event)) if self.is_doubtful(&event) => self.doubtful = Some(event),
                received => {
                    if matches!(received, Some(Received::Headers)) {
                        self.headers = Some(Instant::now());
                    }
                    return Ok(received);
                }
            }
        }
        self.read_clock().await;
        Ok(self
            .doubtful
            .take()
            .map(|event| Received::Event(if self.is_doubtful(&event) { without_time(event) } else { event })))
    }

    /// Whether the newest event may be from before the connection.
    pub(crate) fn is_replaying(&self) -> bool {
        self.began.is_some()
    }

    /// Returns the next item as it is, unless it is held back, and notes whether it was received already.
    async fn receive(&mut self) -> Result<Option<Received>, EngineError> {
        loop {
            if let Some(event) = self.deferred.take_due() {
                return Ok(Some(Received::Event(event)));
            }
            let skip_list = &mut self.skip_list;
            let mut next = pin!(self.request.next(false, |line| skip_list.skips(line)));
            let received = match next.as_mut().now_or_never() {
                Some(received) => received?,
                None => {
                    self.is_burst = false;
                    tokio::select! {
                        biased;
                        received = next => received?,
                        () = self.deferred.due() => continue,
                    }
                }
            };
            let Decoded { event, may_wait } = match received {
                Some(Received::Event(decoded)) => decoded,
                Some(Received::Headers) => return Ok(Some(Received::Headers)),
                None => return Ok(None),
            };
            self.deferred.supersede(&event);
            let event = if may_wait { self.deferred.push(event) } else { Some(event) };
            if let Some(event) = event {
                return Ok(Some(Received::Event(event)));
            }
        }
    }

    /// Whether an event is replayed from before the connection: the list that follows shows what it led to.
    fn is_from_before(&mut self, event: &EngineEvent) -> bool {
        let begun = self.headers.is_some_and(|headers| headers.elapsed() < REPLAY);
        // Events are replayed in the order in which they happened.
        self.began = self.began.filter(|began| begun && event.at().is_some_and(|at| at < *began));
        self.began.is_some()
    }

    /// Whether an event is dated after what the engine's clock shows. Either the clock was set forward, or it
    /// was set back since the event, which is replayed: then an exit may be dated after the start of the next
    /// life.
    fn is_doubtful(&self, event: &EngineEvent) -> bool {
        let Some(at) = event.at() else { return false };
        let latest = match self.clock_read {
            Some((read, clock)) => clock.checked_add(read.elapsed()),
            None => self.request.session().clock().now().and_then(|now| SystemTime::try_from(now).ok()),
        };
        latest.and_then(|latest| latest.checked_add(SLACK)).is_some_and(|latest| at > latest)
    }

    async fn read_clock(&mut self) {
        if self.is_burst || self.clock_failed.is_some_and(|failed| failed.elapsed() < CLOCK_PAUSE) {
            return;
        }
        let clock = timeout(CLOCK_LIMIT, self.request.session().ping()).await;
        let clock = clock.ok().and_then(Result::ok).flatten();
        match clock.and_then(|clock| SystemTime::try_from(clock).ok()) {
            Some(clock) => (self.clock_read, self.is_burst) = (Some((Instant::now(), clock)), true),
            None => self.clock_failed = Some(Instant::now()),
        }
    }
}

/// Leaves of an event only that its container has to be inspected, and whether it may have started.
fn without_time(event: EngineEvent) -> EngineEvent {
    match event {
        EngineEvent::Started { id, .. } => EngineEvent::Started { id, at: None, pid: None, preview: None },
        EngineEvent::Touched { id, .. } => EngineEvent::Touched { id, at: None },
        EngineEvent::Exited { id, .. }
        | EngineEvent::Paused { id, .. }
        | EngineEvent::Unpaused { id, .. }
        | EngineEvent::Health { id, .. }
        | EngineEvent::OomKilled { id, .. }
        | EngineEvent::Changed { id, .. } => EngineEvent::Changed { id, at: None },
        other => other,
    }
}

/// Leaves of an event only that its container has to be compared with the list.
fn without_start(event: EngineEvent) -> EngineEvent {
    match without_time(event) {
        EngineEvent::Started { id, .. } | EngineEvent::Touched { id, .. } => {
            EngineEvent::Changed { id, at: None }
        }
        other => other,
    }
}
