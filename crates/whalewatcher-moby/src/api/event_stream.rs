//! An event stream, and when it is certain that it misses nothing.
//!
//! `since` makes sure of that: events are requested from a moment on, by the engine's own clock, that lies
//! before any list. dockerd sends the headers *before* it registers the listener, but then replays what it
//! remembers since that moment, atomically with registering. podman reads its event log from there on.
//!
//! Headers may come only with the first event: podman 4 delays them so, and so do proxies. The stream is used
//! all the same before they came, and is certain with the first item that comes, or after [`SETTLED`]; then
//! another list finds what may have been missed. The same holds where the engine's own clock is not known:
//! then events that seem to be from before the list, up to [`REPLAY`] after the headers, do not announce a
//! start, and the list follows after that.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};
use whalewatcher_core::EngineError;

use crate::api::events::Received;
use crate::api::session::Session;
use crate::api::stream_history::StreamHistory;
use crate::api::subscription::{REPLAY, Subscription};

/// After what time a stream is certain. One that ends earlier never worked.
pub(crate) const SETTLED: Duration = Duration::from_secs(2);

pub(crate) struct EventStream<'a> {
    subscription: Subscription<'a>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) begun: Instant,
    /// Whether it is certain from which moment on events are replayed.
    is_exact: bool,
    /// When the stream becomes certain, if it is not yet.
    unsettled: Option<Instant>,
}

impl<'a> EventStream<'a> {
    /// Creates a stream, which is requested when it is first polled.
    pub(crate) fn new(session: &'a Session, history: &StreamHistory, since: Option<Timestamp>) -> Self {
        Self {
            subscription: Subscription::new(session, history, since),
            since,
            begun: Instant::now(),
            is_exact: session.clock().is_exact(),
            unsettled: None,
        }
    }

    /// Records that the stream is not certain yet: it becomes so [`SETTLED`] after it began.
    pub(crate) fn set_unsettled(&mut self) {
        self.unsettled = Some(self.begun + SETTLED);
    }

    /// Returns the next item; `None` once the stream becomes certain without one.
    ///
    /// # Errors
    ///
    /// The end of the stream, with the error that ended it if there was one.
    pub(crate) async fn next(&mut self) -> Result<Option<Received>, Option<EngineError>> {
        let next = async {
            match self.subscription.next().await {
                Ok(Some(received)) => Ok(Some(received)),
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
        if matches!(next, Ok(Some(Received::Headers))) && !self.is_exact {
            self.unsettled = Some(Instant::now() + REPLAY);
        }
        next
    }

    /// Whether the stream becomes certain with this item, and was not before.
    pub(crate) fn settles_with(&mut self, received: &Received) -> bool {
        let proven = match received {
            Received::Headers => self.is_exact,
            // Starts that seem to be from before the list are not announced: another list has to follow.
            Received::Event(_) => !self.subscription.is_replaying(),
        };
        proven && self.unsettled.take().is_some()
    }
}
