//! A connection to an engine: what the watcher calls.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::SystemTime;

use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::Instant;
use whalewatcher_core::adapter::{EngineConnection, EngineEvent, EngineIdentity, Listing};
use whalewatcher_core::{Container, ContainerId, EngineError};

use crate::api::audit::audit;
use crate::api::changes::changes;
use crate::api::inspect::inspect;
use crate::api::list::{Purpose, list};
use crate::api::lives::Lives;
use crate::api::missed_exits;
use crate::api::probe::{self, ProbeClock};
use crate::api::session::Session;
use crate::api::stream_history::StreamHistory;
use crate::api::stream_start::StreamStart;
use crate::decode::raw_inspection::Packer;

/// A connection to an engine, made by [`Client`](crate::Client). Dropping it closes every descriptor and ends
/// every task that belongs to it. Only a long list that a thread of the runtime is decoding just then is
/// decoded to its end.
pub struct Connection {
    session: Session,
    packer: Option<Packer>,
    history: StreamHistory,
    start: StreamStart,
    probe_clock: ProbeClock,
    lives: Lives,
    /// Whether there was a list, of which missed exits were reported.
    is_listed: AtomicBool,
    /// Missed exits, on their way to the event stream.
    missed: mpsc::UnboundedSender<EngineEvent>,
    missed_receiver: Mutex<Option<mpsc::UnboundedReceiver<EngineEvent>>>,
}

impl Connection {
    pub(crate) fn new(
        session: Session,
        packer: Option<Packer>,
        history: StreamHistory,
        lives: Lives,
    ) -> Self {
        lives.record_connection(&session.identity().id);
        let (missed, missed_receiver) = mpsc::unbounded_channel();
        Self {
            start: StreamStart::new(session.since()),
            probe_clock: ProbeClock::default(),
            session,
            packer,
            history,
            lives,
            is_listed: AtomicBool::new(false),
            missed,
            missed_receiver: Mutex::new(Some(missed_receiver)),
        }
    }

    /// Returns the version of Docker's API that was negotiated, such as `1.51`.
    #[must_use]
    pub fn api_version(&self) -> String {
        self.session.api().to_string()
    }

    async fn list_alive(&self) -> Result<Listing, EngineError> {
        let begun = Instant::now();
        let (entries, now) = list(&self.session, Purpose::Resync).await?;
        if self.is_listed.swap(true, Ordering::Relaxed) {
            self.lives.retain_listed(&entries, now);
        } else {
            let left = self.session.list_limit().saturating_sub(begun.elapsed());
            // Without a stream there is no receiver.
            let emit = |event| drop(self.missed.send(event));
            missed_exits::report(&self.session, &self.lives, &entries, left, emit).await;
        }
        self.lives.record_listed(&entries);
        Ok(entries.into())
    }

    async fn list_for_audit(&self) -> Result<Listing, EngineError> {
        let (entries, now) = audit(&self.session).await?;
        self.lives.retain_listed(&entries, now);
        Ok(entries.into())
    }

    async fn inspect_one(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        let guard = self.lives.begin_inspection(id);
        let container = inspect(&self.session, id, self.packer.as_ref()).await?;
        guard.record_answer(container.as_ref());
        Ok(container)
    }
}

impl EngineConnection for Connection {
    // Large futures are boxed: so they are compiled in this crate, and not again in each one that watches.
    fn identity(&self) -> EngineIdentity {
        self.session.identity().clone()
    }

    fn clock(&self) -> Option<SystemTime> {
        self.session.clock().now().and_then(|now| SystemTime::try_from(now).ok())
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        let mut changes = changes(&self.session, &self.history, &self.start).boxed();
        let mut consequence = None;
        let mut missed = self.missed_receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream::poll_fn(move |context| {
            // A missed exit most likely happened before what the stream delivers.
            if let Some(Poll::Ready(Some(event))) = missed.as_mut().map(|missed| missed.poll_recv(context)) {
                return Poll::Ready(Some(Ok(event)));
            }
            if let Some(event) = consequence.take() {
                return Poll::Ready(Some(Ok(event)));
            }
            let change =
                changes.as_mut().poll_next(context).map_ok(|event| self.session.pods().name_preview(event));
            if let Poll::Ready(Some(Ok(event))) = &change {
                consequence = self.lives.record_event(event);
            }
            change
        })
    }

    fn list(&self) -> impl Future<Output = Result<Listing, EngineError>> + Send {
        self.list_alive().boxed()
    }

    fn audit(&self) -> impl Future<Output = Result<Listing, EngineError>> + Send {
        self.list_for_audit().boxed()
    }

    async fn probe(&self, since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        probe::newest_event(&self.session, &self.start, &self.probe_clock, since).await
    }

    fn packs(&self) -> bool {
        self.packer.is_some()
    }

    fn inspect(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = Result<Option<Container>, EngineError>> + Send {
        let id = id.clone();
        async move { self.inspect_one(&id).await }.boxed()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("identity", &self.session.identity())
            .field("api", &self.session.api())
            .finish_non_exhaustive()
    }
}
