//! The engine: its namespaces, containers, tasks and events. Each change and its events happen under one short lock.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::{clock::Clock, grpc::Fates};

use super::{
    Error,
    container::{Alive, Container, Key},
    events::{Event, Hub},
    filters::Filters,
};

/// The engine behind the services.
pub(super) struct Engine {
    state: Mutex<State>,
    pub(super) clock: Clock,
}

/// Everything that changes, to be had from [`Engine::lock`].
pub(super) struct State {
    clock: Clock,
    /// The last time given to anything, so that the next is later.
    last: Timestamp,
    last_pid: u32,
    namespaces: BTreeSet<Arc<str>>,
    containers: BTreeMap<Key, Container>,
    hub: Hub,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    pub(super) fn new(clock: Clock, first_pid: u32) -> Self {
        let state = State {
            clock: clock.clone(),
            last: Timestamp::MIN,
            last_pid: first_pid.saturating_sub(1),
            namespaces: BTreeSet::new(),
            containers: BTreeMap::new(),
            hub: Hub::default(),
        };
        Self { state: Mutex::new(state), clock }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looking.
impl State {
    pub(super) fn find(&self, key: &Key) -> Result<&Container, Error> {
        self.containers.get(key).ok_or_else(|| Error::NotFound(key.to_string()))
    }

    /// The containers of a namespace, by their IDs.
    pub(super) fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Container> {
        self.containers.values().filter(move |container| &*container.key.namespace == namespace)
    }

    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.iter().map(|namespace| &**namespace)
    }

    pub(super) fn truth(&self) -> Vec<Alive> {
        self.containers.values().filter_map(Container::alive).collect()
    }
}

/// What the transitions are made of.
impl State {
    /// The time for whatever happens now.
    pub(super) fn tick(&mut self) -> Timestamp {
        let next = self.last.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX);
        self.last = self.clock.now().max(next);
        self.last
    }

    pub(super) fn next_pid(&mut self) -> u32 {
        self.last_pid += 1;
        self.last_pid
    }

    #[cfg(feature = "cri")]
    pub(super) fn continue_with(&mut self, pid: u32) {
        self.last_pid = pid.saturating_sub(1);
    }

    pub(super) fn find_mut(&mut self, key: &Key) -> Result<&mut Container, Error> {
        self.containers.get_mut(key).ok_or_else(|| Error::NotFound(key.to_string()))
    }

    /// Its namespace comes to be with it.
    pub(super) fn add(&mut self, container: Container) {
        self.namespaces.insert(Arc::clone(&container.key.namespace));
        self.containers.insert(container.key.clone(), container);
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.containers.remove(key);
    }

    pub(super) fn add_namespace(&mut self, namespace: &str) -> bool {
        self.namespaces.insert(namespace.into())
    }

    pub(super) fn forget_namespace(&mut self, namespace: &str) -> bool {
        self.namespaces.remove(namespace)
    }
}

/// Events.
impl State {
    pub(super) fn emit(&mut self, mut event: Event) {
        event.time = self.tick();
        self.hub.publish(event);
    }

    pub(super) fn subscribe(&mut self, filters: Filters) -> (u64, mpsc::UnboundedReceiver<Bytes>) {
        self.hub.subscribe(filters)
    }

    pub(super) fn unsubscribe(&mut self, id: u64) {
        self.hub.unsubscribe(id);
    }

    pub(super) fn fates(&mut self) -> &mut Fates<Event> {
        &mut self.hub.fates
    }
}
