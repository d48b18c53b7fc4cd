//! Where changes come from: the event stream, or lists where there is none to be had.
//!
//! That nothing is missed is `since`'s doing: the stream is asked for from a moment on, by the engine's own clock, that
//! lies before any list. dockerd sends the headers *before* it registers the listener, but then replays what it
//! remembers since that moment in one go with registering. podman reads its event log from there on.
//!
//! Headers may come only with the first event: podman 4 sends them so, and so do proxies. After [`PATIENCE`] the subscription
//! counts as standing all the same. Once it certainly stands, which is with the first thing that comes or after [`SETTLED`],
//! another list finds what may have been missed. So it is where the engine's own clock is not known: then what seems to be of
//! before the list, up to [`REPLAY`] after the headers, is no reason to announce a start, and the list follows after that.
//!
//! A stream that ends right away, while all else works, is none to be had: Docker Desktop is like that while it saves
//! resources, and proxies may refuse it. Then both what there is and what changes is learned of by lists, and the stream is
//! tried again now and then. A cut connection is no such end unless it is cut [`CUTS`] times in a row.
//!
//! An event that is odd or too large in some part is still a hint, if it names its container: that is
//! inspected. If not, it ends the connection, and the resynchronization finds out what it was; but only once, should it be
//! replayed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until, timeout};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ChangeSource, EngineError, ErrorKind};

use crate::api::events::{Came, REPLAY, Subscription};
use crate::api::polling::{EVERY, Polling};
use crate::connection::{self, Connection};
use crate::decode::event::WHAT;
use crate::http::answer;

/// How long to wait for the headers.
const PATIENCE: Duration = Duration::from_millis(200);

/// After what time a subscription certainly stands. A stream that ends before did not.
const SETTLED: Duration = Duration::from_secs(2);

/// How many connections in a row may have their stream cut right away before the next one does without.
const CUTS: u32 = 2;

/// After what time to try the stream again; doubled each time, up to the longest.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How far back to ask for events when the stream is tried again: to the poll before.
const BACK: SignedDuration = SignedDuration::from_secs(2);

/// The changes that a connection reports; asks when it is first polled.
pub(crate) fn changes(
    connection: &Connection,
) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
    let changes = Changes { connection, pending: VecDeque::new(), source: Source::Begun };
    stream::unfold(Some(changes), |changes| async move {
        let mut changes = changes?;
        let connection: &Connection = changes.connection;
        loop {
            if let Some(event) = changes.pending.pop_front() {
                return Some((Ok(event), Some(changes)));
            }
            let step = tokio::select! {
                step = changes.step() => step,
                error = connection.replaced() => Err(error),
            };
            if let Err(error) = step {
                return Some((Err(error), None));
            }
        }
    })
}

struct Changes<'a> {
    connection: &'a Connection,
    /// What is to be yielded next.
    pending: VecDeque<EngineEvent>,
    source: Source<'a>,
}

enum Source<'a> {
    Begun,
    Events(Box<Events<'a>>),
    Polling(Polling<'a>, Retry<'a>),
}

/// The event stream.
struct Events<'a> {
    subscription: Subscription<'a>,
    since: Option<Timestamp>,
    begun: Instant,
    /// Whether it is certain from which moment on events are replayed.
    is_exact: bool,
    /// When it certainly stands, if that is not certain yet.
    unsettled: Option<Instant>,
}

/// What becomes of the event stream while there is polling.
enum Retry<'a> {
    Waiting { until: Instant, next: Duration },
    Trying { events: Box<Events<'a>>, next: Duration },
}

impl<'a> Events<'a> {
    fn new(connection: &'a Connection, since: Option<Timestamp>) -> Self {
        let subscription = Subscription::new(connection, since);
        let is_exact = connection.clock().is_exact();
        Self { subscription, since, begun: Instant::now(), is_exact, unsettled: None }
    }

    /// What it is to be waited for: `None` once it certainly stands.
    async fn next(&mut self) -> Result<Option<Came>, Option<EngineError>> {
        let next = async {
            match self.subscription.next().await {
                Ok(Some(came)) => Ok(Some(came)),
                Ok(None) => Err(None),
                Err(error) => Err(Some(error)),
            }
        };
        let next = match self.unsettled {
            None => next.await,
            Some(until) => tokio::select! {
                biased;
                next = next => next,
                () = sleep_until(until) => {
                    self.unsettled = None;
                    Ok(None)
                }
            },
        };
        // Headers alone prove nothing where the moment from which on events are replayed is not certain.
        if matches!(next, Ok(Some(Came::Headers))) && !self.is_exact {
            self.unsettled = Some(Instant::now() + REPLAY);
        }
        next
    }

    /// Whether it certainly stands with what came just now, and did not before.
    fn settles_with(&mut self, came: &Came) -> bool {
        let proven = match came {
            Came::Headers => self.is_exact,
            // Of starts that seem to be of before the list nothing is announced: another list has to follow.
            Came::Event(_) => !self.subscription.is_replaying(),
        };
        proven && self.unsettled.take().is_some()
    }
}

impl<'a> Changes<'a> {
    /// Waits for what is to be yielded next.
    async fn step(&mut self) -> Result<(), EngineError> {
        match &mut self.source {
            Source::Begun => self.begin().await,
            Source::Events(events) => match events.next().await {
                Ok(None) => {
                    self.pending.push_back(EngineEvent::Gap);
                    Ok(())
                }
                Ok(Some(came)) => {
                    if events.settles_with(&came) {
                        self.pending.push_back(EngineEvent::Gap);
                    }
                    self.pending.extend(event(came));
                    Ok(())
                }
                Err(error) => {
                    let begun = events.begun;
                    self.fall_back(error, begun, EngineEvent::Gap).await
                }
            },
            Source::Polling(polling, retry) => {
                tokio::select! {
                    // What comes of the stream is never lost, but a list may be given up for it.
                    biased;
                    retried = retry.step(self.connection) => match retried {
                        Retried::Nothing => {}
                        Retried::Came(came) => self.pending.extend(event(came)),
                        Retried::Stands(events) => {
                            self.connection.kept().stream_stood();
                            self.connection.set_stream(connection::Stream::Since(events.since));
                            self.source = Source::Events(events);
                            let back = [
                                EngineEvent::Source(ChangeSource::Events),
                                EngineEvent::Fallback(None),
                                EngineEvent::Gap,
                            ];
                            self.pending.extend(back);
                        }
                    },
                    polled = polling.next() => self.pending.extend(polled?),
                }
                Ok(())
            }
        }
    }

    async fn begin(&mut self) -> Result<(), EngineError> {
        let mut events = Box::new(Events::new(self.connection, self.connection.clock().since()));
        let begun = events.begun;
        match timeout(PATIENCE, events.next()).await {
            Ok(Ok(_)) => {}
            Err(_) => events.unsettled = Some(begun + SETTLED),
            Ok(Err(error)) => return self.fall_back(error, begun, EngineEvent::Subscribed).await,
        }
        self.source = Source::Events(events);
        self.pending.push_back(EngineEvent::Subscribed);
        Ok(())
    }

    /// The stream ended, by itself unless there is an error. Goes on without it if there is none to be had, beginning with this
    /// event; else the connection is lost.
    async fn fall_back(
        &mut self,
        error: Option<EngineError>,
        begun: Instant,
        then: EngineEvent,
    ) -> Result<(), EngineError> {
        let ended = || {
            EngineError::new(ErrorKind::Disconnected, format!("{WHAT}: the engine ended the event stream"))
        };
        if begun.elapsed() >= SETTLED {
            self.connection.kept().stream_stood();
            return Err(error.unwrap_or_else(ended));
        }
        let is_none_to_be_had = match &error {
            None => true,
            Some(error) => match (answer::refusal(error), error.kind()) {
                (Some(status), _) if status.is_client_error() => true,
                (Some(_), _) | (None, ErrorKind::Disconnected) => {
                    self.connection.kept().stream_was_cut() > CUTS
                }
                _ => false,
            },
        };
        let error = error.unwrap_or_else(ended);
        if !is_none_to_be_had || self.connection.ping().await.is_err() {
            return Err(error);
        }
        let polling = Polling::begin(self.connection).await?;
        self.connection.set_stream(connection::Stream::None);
        let source = ChangeSource::Polling { every: EVERY };
        self.pending.extend([
            EngineEvent::Source(source),
            EngineEvent::Fallback(Some(Arc::new(error))),
            then,
        ]);
        self.source = Source::Polling(polling, Retry::new());
        Ok(())
    }
}

/// What came of another attempt.
enum Retried<'a> {
    Nothing,
    Came(Came),
    Stands(Box<Events<'a>>),
}

impl<'a> Retry<'a> {
    fn new() -> Self {
        Self::Waiting { until: Instant::now() + RETRY, next: RETRY * 2 }
    }

    async fn step(&mut self, connection: &'a Connection) -> Retried<'a> {
        match self {
            Self::Waiting { until, next } => {
                sleep_until(*until).await;
                let since = connection.clock().now().and_then(|now| now.checked_sub(BACK).ok());
                let mut events = Box::new(Events::new(connection, since));
                events.unsettled = Some(events.begun + SETTLED);
                *self = Self::Trying { events, next: *next };
                Retried::Nothing
            }
            Self::Trying { events, next } => match events.next().await {
                Ok(Some(came)) => Retried::Came(came),
                Ok(None) => {
                    let next = *next;
                    let waiting = Self::Waiting { until: Instant::now(), next };
                    match std::mem::replace(self, waiting) {
                        Self::Trying { events, .. } => Retried::Stands(events),
                        Self::Waiting { .. } => Retried::Nothing,
                    }
                }
                Err(error) => {
                    tracing::debug!(error = error.map(|error| error.to_string()), "still no event stream");
                    let until = Instant::now() + *next;
                    *self = Self::Waiting { until, next: (*next * 2).min(LONGEST_RETRY) };
                    Retried::Nothing
                }
            },
        }
    }
}

fn event(came: Came) -> Option<EngineEvent> {
    match came {
        Came::Headers => None,
        Came::Event(event) => Some(event),
    }
}
