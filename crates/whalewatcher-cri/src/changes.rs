//! Where changes come from, chosen at each connection: the runtime's own events, hints, or polling.
//!
//! Nothing shows that a subscription to the runtime's events stands: it sends the headers of its answer only with the
//! first one. So it counts as standing after [`PATIENCE`]; once it certainly stands, which is with the first event that is
//! made from then on, or after [`SETTLED`], what happened before is looked for in another list.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::Status;
use whalewatcher_adapter::grpc::Excess;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ChangeSource, EngineError, ErrorKind};

use crate::connection::Connection;
use crate::event_stream::EventStream;
use crate::events::{Since, made_at, take};
use crate::failure;
#[cfg(feature = "containerd")]
use crate::hints::Hinting;
use crate::polling::Polling;

const EVENTS: &str = "RuntimeService.GetContainerEvents";

/// How long to wait for a subscription that cannot be proven.
const PATIENCE: Duration = Duration::from_millis(200);

/// After what time without any event it stands even if nothing shows it. A stream that ends before did not stand.
pub(crate) const SETTLED: Duration = Duration::from_secs(2);

/// After what time it stands even if all events so far are older than it: clocks may differ.
const REPLAYED: Duration = Duration::from_secs(30);

/// The changes that a connection tells of.
pub(crate) fn changes(
    connection: &Connection,
) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
    let (pending, reported) = (VecDeque::new(), connection.reported());
    let changes = Changes { connection, pending, reported, source: Source::Unchosen };
    stream::unfold(Some(changes), |changes| async move {
        let mut changes = changes?;
        loop {
            if let Some(event) = changes.pending.pop_front() {
                return Some((Ok(event), Some(changes)));
            }
            if let Err(error) = changes.next().await {
                return Some((Err(error), None));
            }
        }
    })
}

struct Changes<'a> {
    connection: &'a Connection,
    pending: VecDeque<EngineEvent>,
    /// What lists show.
    reported: Option<mpsc::UnboundedReceiver<EngineEvent>>,
    source: Source<'a>,
}

enum Source<'a> {
    Unchosen,
    Events(Events<'a>),
    #[cfg(feature = "containerd")]
    Hints(Hinting<'a>),
    Polling(Polling<'a>),
}

/// The runtime's own events.
struct Events<'a> {
    stream: EventStream<'a>,
    since: Since,
    /// Until when it may not stand yet, or tell what happened before.
    unsettled: Option<Instant>,
    /// Whether it ever brought anything.
    arrived: bool,
}

impl<'a> Changes<'a> {
    /// Waits for what is to be told next, by the source or by a list.
    async fn next(&mut self) -> Result<(), EngineError> {
        let mut reported = self.reported.take();
        let stepped = tokio::select! {
            biased;
            stepped = self.step() => stepped,
            Some(event) = recv(&mut reported) => {
                self.pending.push_back(event);
                Ok(())
            }
        };
        self.reported = reported;
        stepped
    }

    /// Waits for what the source has to tell. Nothing is lost if that is not awaited to its end, once it is chosen.
    async fn step(&mut self) -> Result<(), EngineError> {
        match &mut self.source {
            Source::Unchosen => self.choose().await,
            Source::Events(events) => {
                let step = events.step(self.connection).await?;
                self.pending.extend(step.reported);
                if let Some(over) = step.over {
                    self.poll(Some(over));
                }
                Ok(())
            }
            #[cfg(feature = "containerd")]
            Source::Hints(hints) => {
                self.pending.extend(hints.next(self.connection).await?);
                Ok(())
            }
            Source::Polling(polling) => polling.next().await,
        }
    }

    async fn choose(&mut self) -> Result<(), EngineError> {
        if self.connection.polls_only() {
            self.poll(None);
            self.pending.push_back(EngineEvent::Subscribed);
            return Ok(());
        }
        if self.connection.runtime().shares_events() {
            return self.subscribe().await;
        }
        #[cfg(feature = "containerd")]
        let why = match Hinting::subscribe(self.connection).await? {
            Ok(hints) => {
                self.pending.push_back(EngineEvent::Source(ChangeSource::Hints));
                self.pending.push_back(EngineEvent::Subscribed);
                self.source = Source::Hints(hints);
                return Ok(());
            }
            Err(refused) => refused,
        };
        #[cfg(not(feature = "containerd"))]
        let why = EngineError::new(
            ErrorKind::Configuration,
            "the events of containerd before 2.0 would be taken from the kubelet, and this build lacks the feature `containerd`",
        );
        self.poll(Some(why));
        self.pending.push_back(EngineEvent::Subscribed);
        Ok(())
    }

    async fn subscribe(&mut self) -> Result<(), EngineError> {
        let since = Since::now();
        let mut events = Events {
            stream: EventStream::new(self.connection),
            since,
            unsettled: Some(Instant::now() + SETTLED),
            arrived: false,
        };
        let mut step = Step::default();
        if let Ok(first) = timeout(PATIENCE, events.stream.next()).await {
            step = events.take(self.connection, first)?;
        }
        if let Some(over) = step.over {
            self.poll(Some(over));
            self.pending.push_back(EngineEvent::Subscribed);
        } else {
            self.pending.push_back(EngineEvent::Source(ChangeSource::Events));
            self.pending.push_back(EngineEvent::Subscribed);
            self.source = Source::Events(events);
        }
        self.pending.extend(step.reported);
        Ok(())
    }

    /// Polls from now on; for which reason, unless it is configured.
    fn poll(&mut self, why: Option<EngineError>) {
        let every = self.connection.poll_every();
        self.pending.push_back(EngineEvent::Source(ChangeSource::Polling { every }));
        if let Some(why) = why {
            self.pending.push_back(EngineEvent::Fallback(Some(Arc::new(why))));
        }
        self.source = Source::Polling(Polling::new(self.connection));
    }
}

async fn recv(reported: &mut Option<mpsc::UnboundedReceiver<EngineEvent>>) -> Option<EngineEvent> {
    reported.as_mut()?.recv().await
}

/// What the stream of events came to.
#[derive(Default)]
struct Step {
    reported: Vec<EngineEvent>,
    /// Why there is none to be had, if it never stood.
    over: Option<EngineError>,
}

impl Events<'_> {
    async fn step(&mut self, connection: &Connection) -> Result<Step, EngineError> {
        let Some(until) = self.unsettled else {
            let next = self.stream.next().await;
            return self.take(connection, next);
        };
        tokio::select! {
            biased;
            next = self.stream.next() => self.take(connection, next),
            () = sleep_until(until) => {
                self.unsettled = None;
                Ok(Step { reported: vec![EngineEvent::Gap], over: None })
            }
        }
    }

    fn take(
        &mut self,
        connection: &Connection,
        next: Result<Option<whalewatcher_api::cri::v1::ContainerEventResponse>, Status>,
    ) -> Result<Step, EngineError> {
        let event = match next {
            Ok(Some(event)) => event,
            // The connection is broken, which says nothing of events.
            Err(status) if is_broken(&status) => return Err(failure::of_status(EVENTS, status)),
            ended if !self.arrived && self.since.elapsed() < SETTLED => {
                let why =
                    ended.err().map_or_else(ended_by_itself, |status| failure::of_status(EVENTS, status));
                return Ok(Step { reported: Vec::new(), over: Some(why) });
            }
            Err(status) => {
                let error = failure::of_status(EVENTS, status);
                if error.kind() == ErrorKind::Malformed {
                    return Err(error);
                }
                return Err(EngineError::new(ErrorKind::Disconnected, error.to_string()).with_source(error));
            }
            Ok(None) => return Err(ended_by_itself()),
        };
        self.arrived = true;
        let now = SystemTime::now();
        let mut reported = Vec::new();
        let mut replayed = false;
        if self.unsettled.is_some() {
            replayed = self.since.is_after(made_at(&event), now) && self.since.elapsed() < REPLAYED;
            self.unsettled = replayed.then(|| Instant::now() + SETTLED);
            if !replayed {
                reported.push(EngineEvent::Gap);
            }
        }
        reported.extend(take(&event, &mut connection.memory(), self.since, replayed, now));
        Ok(Step { reported, over: None })
    }
}

fn ended_by_itself() -> EngineError {
    EngineError::new(ErrorKind::Disconnected, "the CRI runtime ended its stream of events")
}

/// Whether there was no answer, rather than one that reports a failure, or that is too large.
fn is_broken(status: &Status) -> bool {
    status.source().is_some_and(|source| !source.is::<Excess>())
}
