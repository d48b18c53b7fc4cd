//! The runtime's own events.
//!
//! Nothing shows that a subscription to the runtime's events stands: it sends the headers of its answer only with the
//! first one. So it counts as standing after [`PATIENCE`]; once it certainly stands, which is with the first event that is
//! made from then on, or after [`SETTLED`], what happened before is looked for in another list.

pub(crate) mod event;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use self::event::{Since, made_at, take};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};
use whalewatcher_adapter::grpc::TooLarge;
use whalewatcher_api::cri::v1::{ContainerEventResponse, GetEventsRequest};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::engine::ENGINE;
use crate::rpc::session::Session;

const EVENTS: &str = "RuntimeService.GetContainerEvents";

/// How long to wait for a subscription that cannot be proven.
const PATIENCE: Duration = Duration::from_millis(200);

/// After what time without any event it stands even if nothing shows it. A stream that ends before did not stand.
const SETTLED: Duration = Duration::from_secs(2);

/// After what time it stands even if all events so far are older than it: clocks may differ.
const REPLAYED: Duration = Duration::from_secs(30);

/// The runtime's own events.
pub(crate) struct Events<'a> {
    stream: EventStream<'a>,
    since: Since,
    /// Until when it may not stand yet, or tell what happened before.
    unsettled: Option<Instant>,
    /// Whether it ever brought anything.
    arrived: bool,
}

/// What the stream of events came to.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) reported: Vec<EngineEvent>,
    /// Why there is none to be had, if it never stood.
    pub(crate) over: Option<EngineError>,
}

impl<'a> Events<'a> {
    /// Subscribes; returns what it came to meanwhile.
    pub(crate) async fn subscribe(session: &'a Session) -> Result<(Self, Step), EngineError> {
        let mut events = Self {
            stream: EventStream::new(session),
            since: Since::now(),
            unsettled: Some(Instant::now() + SETTLED),
            arrived: false,
        };
        let mut step = Step::default();
        if let Ok(first) = timeout(PATIENCE, events.stream.next()).await {
            step = events.take(session, first)?;
        }
        Ok((events, step))
    }

    pub(crate) async fn step(&mut self, session: &Session) -> Result<Step, EngineError> {
        let Some(until) = self.unsettled else {
            let next = self.stream.next().await;
            return self.take(session, next);
        };
        tokio::select! {
            biased;
            next = self.stream.next() => self.take(session, next),
            () = sleep_until(until) => {
                self.unsettled = None;
                Ok(Step { reported: vec![EngineEvent::Gap], over: None })
            }
        }
    }

    fn take(
        &mut self,
        session: &Session,
        next: Result<Option<ContainerEventResponse>, Status>,
    ) -> Result<Step, EngineError> {
        let event = match next {
            Ok(Some(event)) => event,
            // The connection is broken, which says nothing of events.
            Err(status) if is_broken(&status) => return Err(ENGINE.status_error(EVENTS, status)),
            ended if !self.arrived && self.since.elapsed() < SETTLED => {
                let why =
                    ended.err().map_or_else(ended_by_itself, |status| ENGINE.status_error(EVENTS, status));
                return Ok(Step { reported: Vec::new(), over: Some(why) });
            }
            Err(status) => {
                let error = ENGINE.status_error(EVENTS, status);
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
        reported.extend(take(&event, &mut session.memory(), self.since, replayed, now));
        Ok(Step { reported, over: None })
    }
}

fn ended_by_itself() -> EngineError {
    EngineError::new(ErrorKind::Disconnected, "the CRI runtime ended its stream of events")
}

/// Whether there was no answer, rather than one that reports a failure, or that is too large.
fn is_broken(status: &Status) -> bool {
    status.source().is_some_and(|source| !source.is::<TooLarge>())
}

/// The stream. There is an answer only with the first event.
pub(crate) enum EventStream<'a> {
    Asked(Pin<Box<dyn Future<Output = Result<Streaming<ContainerEventResponse>, Status>> + Send + 'a>>),
    Answered(Box<Streaming<ContainerEventResponse>>),
}

impl<'a> EventStream<'a> {
    /// Asks when it is first read.
    pub(crate) fn new(session: &'a Session) -> Self {
        Self::Asked(Box::pin(async {
            let mut client = session.client_for_stream(session.limits().event());
            Ok(client.get_container_events(GetEventsRequest {}).await?.into_inner())
        }))
    }

    /// The next event; `None` at its end. Nothing is lost if that is not awaited to its end.
    pub(crate) async fn next(&mut self) -> Result<Option<ContainerEventResponse>, Status> {
        loop {
            match self {
                Self::Asked(answer) => *self = Self::Answered(Box::new(answer.await?)),
                Self::Answered(stream) => return stream.message().await,
            }
        }
    }
}
