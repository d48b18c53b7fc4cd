//! Subscribes to the runtime's own events and reads them.
//!
//! Nothing proves that a subscription stands: the runtime sends the headers of its answer only with the first
//! event. It is assumed to stand after [`ASSUMED_AFTER`]. Once it certainly stands, with the first event that
//! is made from then on, or after [`SETTLED_AFTER`], a second list closes the gap.

pub(crate) mod event;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use self::event::{SubscriptionTime, made_at, take};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};
use whalewatcher_adapter::grpc::TooLarge;
use whalewatcher_api::cri::v1::{ContainerEventResponse, GetEventsRequest};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{EngineError, ErrorKind};

use crate::engine::ENGINE;
use crate::rpc::session::Session;

const EVENTS: &str = "RuntimeService.GetContainerEvents";

/// The time after which a subscription is assumed to stand.
const ASSUMED_AFTER: Duration = Duration::from_millis(200);

/// The time without an event after which it certainly stands. A stream that ends before did not stand.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// The time after which it certainly stands even if all events so far are older than it, because clocks may differ.
const REPLAYED: Duration = Duration::from_secs(30);

/// A subscription to the runtime's own events.
pub(crate) struct Events<'a> {
    stream: EventStream<'a>,
    since: SubscriptionTime,
    /// Until when it may not stand yet, or may replay old events.
    unsettled: Option<Instant>,
    /// Whether any event has arrived.
    arrived: bool,
}

/// The result of one step.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) reported: Vec<EngineEvent>,
    /// The reason to poll, if the subscription never stood.
    pub(crate) over: Option<EngineError>,
}

impl<'a> Events<'a> {
    /// Subscribes; returns the subscription, and what arrived meanwhile.
    pub(crate) async fn subscribe(session: &'a Session) -> Result<(Self, Step), EngineError> {
        let mut events = Self {
            stream: EventStream::new(session),
            since: SubscriptionTime::now(),
            unsettled: Some(Instant::now() + SETTLED_AFTER),
            arrived: false,
        };
        let mut step = Step::default();
        if let Ok(first) = timeout(ASSUMED_AFTER, events.stream.next()).await {
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
            // A broken connection says nothing about events.
            Err(status) if is_broken(&status) => return Err(ENGINE.status_error(EVENTS, status)),
            ended if !self.arrived && self.since.elapsed() < SETTLED_AFTER => {
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
            self.unsettled = replayed.then(|| Instant::now() + SETTLED_AFTER);
            if !replayed {
                reported.push(EngineEvent::Gap);
            }
        }
        reported.extend(take(&event, &mut session.cache(), self.since, replayed, now));
        Ok(Step { reported, over: None })
    }
}

fn ended_by_itself() -> EngineError {
    EngineError::new(ErrorKind::Disconnected, "the CRI runtime ended its stream of events")
}

/// Whether the connection failed, rather than the call, and the answer was not too large.
fn is_broken(status: &Status) -> bool {
    status.source().is_some_and(|source| !source.is::<TooLarge>())
}

/// The stream. The answer arrives only with the first event.
pub(crate) enum EventStream<'a> {
    Asked(Pin<Box<dyn Future<Output = Result<Streaming<ContainerEventResponse>, Status>> + Send + 'a>>),
    Answered(Box<Streaming<ContainerEventResponse>>),
}

impl<'a> EventStream<'a> {
    /// Subscribes when it is first read.
    pub(crate) fn new(session: &'a Session) -> Self {
        Self::Asked(Box::pin(async {
            let mut client = session.client_for_stream(session.limits().event());
            Ok(client.get_container_events(GetEventsRequest {}).await?.into_inner())
        }))
    }

    /// Returns the next event; `None` at the end. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<ContainerEventResponse>, Status> {
        loop {
            match self {
                Self::Asked(answer) => *self = Self::Answered(Box::new(answer.await?)),
                Self::Answered(stream) => return stream.message().await,
            }
        }
    }
}
