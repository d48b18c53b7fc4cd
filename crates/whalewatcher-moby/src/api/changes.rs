//! Where changes come from: the event stream, or lists where the stream is not available.
//!
//! A stream that ends right after it began, while all else works, is not available: Docker Desktop is like
//! that while its Resource Saver has stopped the engine, and proxies may refuse the request. Then lists are
//! polled for, and the stream is tried again with growing delays. A cut connection does not count as such an
//! end unless it is cut more than [`CUTS`] times in a row.
//!
//! An event that is malformed or too large in some part still has its container inspected, if it names one.
//! Otherwise it ends the connection, and the resync finds what it was about; but only once, should it be
//! replayed ([`StreamHistory`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::stream;
use tokio::time::{Instant, timeout};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ChangeSource, EngineError, ErrorKind};

use crate::api::event_stream::{EventStream, SETTLED};
use crate::api::events::Received;
use crate::api::polling::Polling;
use crate::api::retry::{Retried, Retry};
use crate::api::session::{POLL_EVERY, Session};
use crate::api::stream_history::StreamHistory;
use crate::api::stream_start::{Start, StreamStart};
use crate::decode::event::WHAT;
use crate::decode::identity::Dialect;
use crate::http::answer;

/// How long to wait for the headers before the stream is used without them.
const HEADERS_LIMIT: Duration = Duration::from_millis(200);

/// How many connections in a row may have their stream cut right after it began before polling replaces it.
const CUTS: u32 = 2;

/// Returns the changes that a connection reports. Nothing is requested before the first poll.
pub(crate) fn changes<'a>(
    session: &'a Session,
    history: &'a StreamHistory,
    start: &'a StreamStart,
) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send + 'a {
    let changes = Changes { session, history, start, pending: VecDeque::new(), source: Source::Begun };
    stream::unfold(Some(changes), |changes| async move {
        let mut changes = changes?;
        let session: &Session = changes.session;
        loop {
            if let Some(event) = changes.pending.pop_front() {
                return Some((Ok(event), Some(changes)));
            }
            let step = tokio::select! {
                step = changes.step() => step,
                error = session.socket_replaced() => Err(error),
            };
            if let Err(error) = step {
                return Some((Err(error), None));
            }
        }
    })
}

struct Changes<'a> {
    session: &'a Session,
    history: &'a StreamHistory,
    start: &'a StreamStart,
    /// What to yield next.
    pending: VecDeque<EngineEvent>,
    source: Source<'a>,
}

enum Source<'a> {
    Begun,
    Events(Box<EventStream<'a>>),
    Polling(Polling<'a>, Retry<'a>),
}

impl<'a> Changes<'a> {
    /// Waits for what to yield next.
    async fn step(&mut self) -> Result<(), EngineError> {
        match &mut self.source {
            Source::Begun => self.begin().await,
            Source::Events(stream) => match stream.next().await {
                Ok(None) => {
                    self.pending.push_back(EngineEvent::Gap);
                    Ok(())
                }
                Ok(Some(received)) => {
                    if stream.settles_with(&received) {
                        self.pending.push_back(EngineEvent::Gap);
                    }
                    self.pending.extend(event(received));
                    Ok(())
                }
                Err(error) => {
                    let begun = stream.begun;
                    self.fall_back(error, begun, EngineEvent::Gap).await
                }
            },
            Source::Polling(polling, retry) => {
                tokio::select! {
                    // A request of either that is in flight is continued the next time.
                    biased;
                    retried = retry.step(self.session, self.history) => match retried {
                        Retried::Nothing => {}
                        Retried::Received(received) => self.pending.extend(event(received)),
                        Retried::Established(stream) => self.return_to(stream),
                    },
                    polled = polling.next() => self.pending.extend(polled?),
                }
                Ok(())
            }
        }
    }

    async fn begin(&mut self) -> Result<(), EngineError> {
        let since = self.session.since();
        let mut stream = Box::new(EventStream::new(self.session, self.history, since));
        match timeout(HEADERS_LIMIT, stream.next()).await {
            Ok(Ok(_)) => {}
            Err(_) => stream.set_unsettled(),
            Ok(Err(error)) => return self.fall_back(error, stream.begun, EngineEvent::Subscribed).await,
        }
        if self.session.dialect() == Dialect::Libpod {
            stream.set_unsettled();
        }
        self.source = Source::Events(stream);
        self.pending.extend(self.session.refused().map(|refused| EngineEvent::Fallback(Some(refused))));
        self.pending.push_back(EngineEvent::Subscribed);
        Ok(())
    }

    /// Handles the end of a stream that began at that time. Continues by polling, beginning with the event
    /// `then`, if the stream is not available; otherwise the connection is lost.
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
            self.history.record_lasted();
            return Err(error.unwrap_or_else(ended));
        }
        let is_unavailable = match &error {
            None => true,
            Some(error) => match (answer::refusal(error), error.kind()) {
                (Some(status), _) if status.is_client_error() => true,
                (Some(_), _) | (None, ErrorKind::Disconnected) => self.history.record_cut() > CUTS,
                _ => false,
            },
        };
        let error = error.unwrap_or_else(ended);
        if !is_unavailable || self.session.ping().await.is_err() {
            return Err(error);
        }
        let polling = Polling::begin(self.session).await?;
        self.start.set(Start::NoStream);
        let source = ChangeSource::Polling { every: POLL_EVERY };
        self.pending.extend([
            EngineEvent::Source(source),
            EngineEvent::Fallback(Some(Arc::new(error))),
            then,
        ]);
        self.source = Source::Polling(polling, Retry::new(self.session));
        Ok(())
    }

    /// Replaces polling by a stream that is certain.
    fn return_to(&mut self, stream: Box<EventStream<'a>>) {
        self.history.record_lasted();
        self.start.set(Start::Since(stream.since));
        self.source = Source::Events(stream);
        let fallback = EngineEvent::Fallback(self.session.refused());
        self.pending.extend([EngineEvent::Source(ChangeSource::Events), fallback, EngineEvent::Gap]);
    }
}

fn event(received: Received) -> Option<EngineEvent> {
    match received {
        Received::Headers => None,
        Received::Event(event) => Some(event),
    }
}
