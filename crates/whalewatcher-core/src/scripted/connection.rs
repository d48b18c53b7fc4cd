//! What a watcher calls of a scripted engine.

use std::future::pending;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc;

use super::{Call, ENGINE_TYPE, Engine, Moment};
use crate::engine::{EngineClient, EngineConnection, EngineEvent, Listing, ListingEntry, Unlisted};
use crate::model::{Container, ContainerId, EngineError, EngineIdentity, ErrorKind, Layer};
use crate::settings::Settings;

impl EngineClient for Engine {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        ENGINE_TYPE
    }

    fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    fn layer(&self) -> Layer {
        self.state().layer
    }

    fn scope_below(&self) -> Option<&str> {
        self.state().scope_below
    }

    async fn connect(&self, _: &Settings) -> Result<Connection, EngineError> {
        self.change(|state| state.calls.connects += 1);
        self.pass(Call::Connect, Moment::BeforeLooking).await;
        if let Some((kind, message)) = self.state().refusing.clone() {
            return Err(EngineError::new(kind, message));
        }
        Ok(self.change(|state| {
            state.calls.open += 1;
            Connection(self.clone(), state.newest, state.id.clone())
        }))
    }
}

/// A connection to a scripted engine.
///
/// It contains the time of the newest event before it, which its stream does not deliver, and the engine's ID.
pub struct Connection(Engine, Option<SystemTime>, String);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.change(|state| state.calls.open -= 1);
    }
}

/// Counts an inspection as in flight while it exists.
struct Inspecting<'a>(&'a Engine);

impl<'a> Inspecting<'a> {
    fn new(engine: &'a Engine, id: &ContainerId) -> Self {
        engine.change(|state| {
            let calls = &mut state.calls;
            *calls.inspections.entry(id.clone()).or_default() += 1;
            calls.inspecting += 1;
            calls.most_inspecting = calls.most_inspecting.max(calls.inspecting);
        });
        Self(engine)
    }
}

impl Drop for Inspecting<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.calls.inspecting -= 1);
    }
}

impl EngineConnection for Connection {
    fn identity(&self) -> EngineIdentity {
        let mut identity = EngineIdentity::new(ENGINE_TYPE, self.0.0.endpoint.as_str());
        identity.id.clone_from(&self.2);
        identity
    }

    fn events(&self) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send {
        let subscribing = async {
            self.0.pass(Call::Subscribe, Moment::BeforeLooking).await;
            let (sender, receiver) = mpsc::unbounded_channel();
            self.0.change(|state| state.subscribers.push(sender));
            self.0.pass(Call::Subscribe, Moment::BeforeAnswering).await;
            let events = stream::unfold(receiver, |mut receiver| async move {
                let event = receiver.recv().await?;
                Some((event, receiver))
            });
            let source = self.0.state().source.map(EngineEvent::Source);
            stream::iter(source.into_iter().chain([EngineEvent::Subscribed]).map(Ok)).chain(events)
        };
        stream::once(subscribing).flatten().boxed()
    }

    async fn list(&self) -> Result<Listing, EngineError> {
        self.0.change(|state| state.calls.lists += 1);
        self.0.pass(Call::List, Moment::BeforeLooking).await;
        let listing = {
            let mut state = self.0.state();
            if state.failing_lists > 0 {
                state.failing_lists -= 1;
                return Err(EngineError::new(ErrorKind::Failed, "scripted failure"));
            }
            let entry = |container: &Container| match state.whole_lists {
                true => ListingEntry::Whole(container.clone()),
                false => {
                    let partial = Container::new(container.id().clone(), container.name(), 0);
                    let labels = container.labels().clone();
                    let started_within = container.started_at().map(|began| began..=began);
                    let container = partial.with_labels(labels).with_paused(container.paused());
                    ListingEntry::Partial { container, started_within }
                }
            };
            let is_listed = |container: &&Container| {
                let id = container.id();
                !state.unlisted.contains(Self::scope_of(id)) && !state.hidden.contains(id)
            };
            let failed = |scope: &String| {
                let error = EngineError::new(ErrorKind::Failed, "scripted failure");
                Unlisted { scope: scope.clone(), error: Arc::new(error) }
            };
            Listing {
                entries: state.alive.values().filter(is_listed).map(entry).collect(),
                unlisted: state.unlisted.iter().map(failed).collect(),
            }
        };
        self.0.pass(Call::List, Moment::BeforeAnswering).await;
        Ok(listing)
    }

    fn scope_of(id: &ContainerId) -> &str {
        id.split_once('/').map_or("", |(scope, _)| scope)
    }

    fn packs(&self) -> bool {
        self.0.state().packs
    }

    async fn probe(&self, since: Option<SystemTime>) -> Result<Option<SystemTime>, EngineError> {
        self.0.change(|state| state.calls.probes += 1);
        self.0.pass(Call::Probe, Moment::BeforeLooking).await;
        let newest = self.0.state().newest;
        self.0.pass(Call::Probe, Moment::BeforeAnswering).await;
        Ok(newest.filter(|newest| Some(*newest) > since.max(self.1)))
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>, EngineError> {
        let engine = &self.0;
        let _counted = Inspecting::new(engine, id);
        engine.pass(Call::Inspect, Moment::BeforeLooking).await;
        let answer = engine.change(|state| match state.failing.get_mut(id) {
            Some(times) if *times > 0 => {
                *times -= 1;
                Err(EngineError::new(ErrorKind::Failed, "scripted failure"))
            }
            _ => {
                let over = state.over.get(id).filter(|_| state.whole_lists || state.packs);
                let alive = state.alive.get(id).filter(|_| !state.hidden.contains(id));
                Ok(alive.or(over).cloned())
            }
        });
        engine.pass(Call::Inspect, Moment::BeforeAnswering).await;
        let latency = engine.state().inspect_latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if engine.state().hanging.contains(id) {
            pending::<()>().await;
        }
        answer
    }
}
