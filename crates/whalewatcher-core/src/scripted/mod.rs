//! A scripted engine in memory, for tests of code that uses watchers: only the test changes its containers.
//!
//! It implements [`EngineClient`](crate::adapter::EngineClient) without I/O, and needs a clock only to delay
//! answers, so it works with tokio's paused clock.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use whalewatcher_core::scripted::Engine;
//! use whalewatcher_core::{Container, EventKind, watch};
//!
//! let engine = Engine::new();
//! engine.start(Container::new("1", "web", 4711));
//! let watching = watch(engine.clone());
//! watching.ready().await.unwrap();
//!
//! let (now, mut changes) = watching.subscribe();
//! assert_eq!(now.by_name("web").unwrap().pid(), 4711);
//! engine.exit("1", Some(137));
//! assert!(matches!(changes.next().await.unwrap().kind, EventKind::Exited { code: Some(137), .. }));
//! # }
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};

use crate::engine::{ChangeSource, EngineEvent};
use crate::model::{Container, ContainerId, EngineError, ErrorKind, Layer};
use crate::portfolio::Portfolio;
use crate::witness::Witness;

mod connection;
mod witness;

pub use connection::Connection;

/// The engine's type.
pub const ENGINE_TYPE: &str = "scripted";

/// A scripted engine; clones are the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    endpoint: String,
    state: Mutex<State>,
    /// Incremented with each change of the state.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// The ID of the engine.
    id: String,
    alive: BTreeMap<ContainerId, Container>,
    /// The containers that were alive; an engine with whole lists still returns their names.
    over: BTreeMap<ContainerId, Container>,
    /// Seconds since the epoch, one more with each event.
    clock: u64,
    subscribers: Vec<mpsc::UnboundedSender<Result<EngineEvent, EngineError>>>,
    held: HashSet<(Call, Moment)>,
    hanging: HashSet<ContainerId>,
    hidden: HashSet<ContainerId>,
    failing: HashMap<ContainerId, usize>,
    inspect_latency: Duration,
    unlisted: BTreeSet<String>,
    refusing: Option<(ErrorKind, String)>,
    failing_lists: usize,
    whole_lists: bool,
    packs: bool,
    layer: Layer,
    scope_below: Option<&'static str>,
    source: Option<ChangeSource>,
    silent: bool,
    stalled: bool,
    /// The time of the newest event, whether delivered or lost in a stalled stream.
    newest: Option<SystemTime>,
    calls: Calls,
}

/// A call of a watcher to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Connecting.
    Connect,
    /// Subscribing to events.
    Subscribe,
    /// Listing.
    List,
    /// Inspecting.
    Inspect,
    /// Probing a silent event stream.
    Probe,
    /// The report of its [witness](Engine::witness), which looks at the state at the time of the end.
    Witness,
}

/// The moment at which a call is held: before the engine reads its state, or after that and before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The answer contains the state at the time of the release.
    BeforeLooking,
    /// The answer contains the state at the time of the request.
    BeforeAnswering,
}

/// The calls to an engine so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// The number of attempts to connect.
    pub connects: usize,
    /// The number of lists.
    pub lists: usize,
    /// The number of probes.
    pub probes: usize,
    /// The number of inspections, by container.
    pub inspections: HashMap<ContainerId, usize>,
    /// The number of inspections in flight.
    pub inspecting: usize,
    /// The greatest number of inspections in flight at once.
    pub most_inspecting: usize,
    /// The number of open connections.
    pub open: usize,
}

impl Calls {
    /// Returns the number of inspections of this container.
    #[must_use]
    pub fn inspections_of(&self, id: &str) -> usize {
        self.inspections.get(id).copied().unwrap_or_default()
    }

    /// Returns the number of inspections of all containers.
    #[must_use]
    pub fn all_inspections(&self) -> usize {
        self.inspections.values().sum()
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// Creates an engine without containers. Its lists contain no PIDs, like those of Docker.
    #[must_use]
    pub fn new() -> Self {
        Self::at("memory:")
    }

    /// Creates an engine at another endpoint, for tests with several engines.
    #[must_use]
    pub fn at(endpoint: &str) -> Self {
        let (state, changed) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Inner { endpoint: endpoint.to_owned(), state, changed }))
    }

    /// Sets whether the engine behaves like containerd: lists contain all details, events contain PIDs but no names,
    /// inspections return the names of containers that are no longer alive, and there are no start times.
    #[must_use]
    pub fn with_whole_lists(self, whole: bool) -> Self {
        self.change(|state| state.whole_lists = whole);
        self
    }

    /// Sets the layer of the engine, and the scope in which it runs its containers in an engine below.
    #[must_use]
    pub fn with_layer(self, layer: Layer, scope_below: Option<&'static str>) -> Self {
        self.change(|state| (state.layer, state.scope_below) = (layer, scope_below));
        self
    }

    /// Sets whether inspections attach rucksacks: those that the test gave to the containers, alive or not.
    #[must_use]
    pub fn with_packing(self, packs: bool) -> Self {
        self.change(|state| state.packs = packs);
        self
    }

    /// Sets the source of changes that later connections report.
    #[must_use]
    pub fn with_source(self, source: ChangeSource) -> Self {
        self.change(|state| state.source = Some(source));
        self
    }

    /// Returns a witness of its lives, which knows their ends whatever the engine reports. `hold` delays its reports.
    #[must_use]
    pub fn witness(&self) -> Arc<dyn Witness> {
        Arc::new(witness::Truth(self.clone()))
    }

    /// Returns the live containers as a portfolio.
    #[must_use]
    pub fn truth(&self) -> Portfolio {
        self.state().alive.values().cloned().collect()
    }

    /// Returns the calls so far.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.state().calls.clone()
    }

    /// Waits until the calls so far fulfil a condition.
    pub async fn asked(&self, condition: impl Fn(&Calls) -> bool) {
        let mut changed = self.0.changed.subscribe();
        // The sender lives as long as self.
        let _ = changed.wait_for(|_| condition(&self.state().calls)).await;
    }

    /// Starts a container, with an event. A container without a start time gets one, unless the engine behaves like
    /// containerd.
    pub fn start(&self, container: Container) {
        self.change(|state| {
            let at = state.tick();
            let whole = state.whole_lists;
            let container = match container.started_at() {
                None if !whole => container.with_started_at(at),
                _ => container,
            };
            let preview = Container::new(container.id().clone(), container.name(), 0)
                .with_labels(container.labels().clone())
                .with_started_at(container.started_at());
            let id = container.id().clone();
            let pid = whole.then_some(container.pid());
            let preview = (!whole).then(|| Box::new(preview));
            state.alive.insert(id.clone(), container);
            state.emit(&EngineEvent::Started { id, at: Some(at), pid, preview });
        });
    }

    /// Ends a life, with an event. Does nothing if the container is not alive.
    pub fn exit(&self, id: &str, code: Option<i32>) {
        self.change(|state| {
            let at = state.tick();
            if let Some((id, container)) = state.alive.remove_entry(id) {
                let pid = state.whole_lists.then_some(container.pid());
                state.over.insert(id.clone(), container.with_pid(0).with_paused(false));
                state.emit(&EngineEvent::Exited { id, pid, at: Some(at), code });
            }
        });
    }

    /// Pauses or unpauses a container, with an event. Does nothing if it is not alive.
    pub fn pause(&self, id: &str, paused: bool) {
        self.change(|state| {
            let at = Some(state.tick());
            let Some((id, container)) = state.alive.remove_entry(id) else { return };
            state.alive.insert(id.clone(), container.with_paused(paused));
            state.emit(&match paused {
                true => EngineEvent::Paused { id, at },
                false => EngineEvent::Unpaused { id, at },
            });
        });
    }

    /// Renames a container, with an event. Does nothing if it is not alive.
    pub fn rename(&self, id: &str, name: &str) {
        self.change(|state| {
            let Some((id, old)) = state.alive.remove_entry(id) else { return };
            state.alive.insert(id.clone(), old.with_name(name));
            let at = Some(state.tick());
            state.emit(&EngineEvent::Changed { id, at });
        });
    }

    /// Changes a container without an event. Does nothing if it is not alive.
    pub fn edit(&self, id: &str, edit: impl FnOnce(Container) -> Container) {
        self.change(|state| {
            if let Some((id, container)) = state.alive.remove_entry(id) {
                state.alive.insert(id, edit(container));
            }
        });
    }

    /// Sets whether changes cause no events.
    pub fn be_silent(&self, silent: bool) {
        self.change(|state| state.silent = silent);
    }

    /// Sets whether event streams are stalled: they stay open, but events are lost.
    pub fn stall(&self, stalled: bool) {
        self.change(|state| state.stalled = stalled);
    }

    /// Sends an event to all subscribers, whether or not it is true.
    pub fn emit(&self, event: &EngineEvent) {
        self.change(|state| state.emit(event));
    }

    /// Returns the time of the engine's clock, which advances with each event.
    #[must_use]
    pub fn clock(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.state().clock)
    }

    /// Ends all connections with an error.
    pub fn disconnect(&self) {
        self.change(|state| {
            for subscriber in state.subscribers.drain(..) {
                let _ =
                    subscriber.send(Err(EngineError::new(ErrorKind::Disconnected, "scripted disconnect")));
            }
        });
    }

    /// Refuses connections with an error of this kind, until [`accept`](Self::accept).
    pub fn refuse(&self, kind: ErrorKind, message: &str) {
        self.change(|state| state.refusing = Some((kind, message.to_owned())));
    }

    /// Sets the engine ID that later connections report.
    pub fn set_id(&self, id: &str) {
        self.change(|state| state.id = id.to_owned());
    }

    /// Accepts connections again.
    pub fn accept(&self) {
        self.change(|state| state.refusing = None);
    }

    /// Holds all calls of a kind at a moment, until [`release`](Self::release).
    pub fn hold(&self, call: Call, moment: Moment) {
        self.change(|state| {
            state.held.insert((call, moment));
        });
    }

    /// Releases all held calls of a kind.
    pub fn release(&self, call: Call) {
        self.change(|state| state.held.retain(|(held, _)| *held != call));
    }

    /// Sets whether the containers of a scope cannot be listed. The scope is the part of an ID before a
    /// slash, if there is one.
    pub fn fail_listing(&self, scope: &str, failing: bool) {
        self.change(|state| match failing {
            true => state.unlisted.insert(scope.to_owned()),
            false => state.unlisted.remove(scope),
        });
    }

    /// Sets whether inspections of this container hang, those in flight included.
    pub fn hang(&self, id: &str, hanging: bool) {
        self.change(|state| match hanging {
            true => {
                state.hanging.insert(id.into());
            }
            false => {
                state.hanging.remove(id);
            }
        });
    }

    /// Sets whether lists and inspections do not show this container, though it is alive.
    pub fn hide(&self, id: &str, hidden: bool) {
        self.change(|state| match hidden {
            true => state.hidden.insert(id.into()),
            false => state.hidden.remove(id),
        });
    }

    /// Fails the next `times` inspections of this container.
    pub fn fail(&self, id: &str, times: usize) {
        self.change(|state| {
            state.failing.insert(id.into(), times);
        });
    }

    /// Delays the answers to later inspections, which contain the state at the time of the request.
    pub fn delay_inspections(&self, latency: Duration) {
        self.change(|state| state.inspect_latency = latency);
    }

    /// Fails the next `times` lists.
    pub fn fail_lists(&self, times: usize) {
        self.change(|state| state.failing_lists = times);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.0.changed.send_modify(|version| *version += 1);
        result
    }

    async fn pass(&self, call: Call, moment: Moment) {
        let mut changed = self.0.changed.subscribe();
        let _ = changed.wait_for(|_| !self.state().held.contains(&(call, moment))).await;
    }
}

impl State {
    fn tick(&mut self) -> SystemTime {
        self.clock += 1;
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.clock)
    }

    fn emit(&mut self, event: &EngineEvent) {
        if self.silent {
            return;
        }
        self.newest = self.newest.max(event.at());
        if !self.stalled {
            self.subscribers.retain(|subscriber| subscriber.send(Ok(event.clone())).is_ok());
        }
    }
}
