//! The engine: its containers, its numbers, its events. A change and its events happen under one short lock, so a
//! list or an inspection contains either all of a change or nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;

use super::{
    Error,
    container::{Alive, Container},
    events::{Event, Fate, Hub, Listener, StreamQuery},
    flavour::Flavour,
};

/// Decides about each event before it is recorded.
pub(super) type FateHook = Box<dyn FnMut(&Event) -> Fate + Send>;

/// The engine behind the API.
pub(super) struct Engine {
    state: Mutex<State>,
    pub(super) clock: Clock,
    pub(super) flavour: Flavour,
    /// Whether event streams continue after `until`.
    pub(super) endless_replays: bool,
}

/// All mutable state, accessible by [`Engine::lock`].
pub(super) struct State {
    clock: Clock,
    flavour: Flavour,
    random: fastrand::Rng,
    /// The last time that was assigned, so that the next one is later.
    last: Timestamp,
    serial: u64,
    last_pid: u32,
    containers: HashMap<Arc<str>, Arc<Container>>,
    /// IDs in order, to find containers by the beginning of their ID.
    ids: BTreeSet<Arc<str>>,
    /// IDs by name.
    names: HashMap<Arc<str>, Arc<str>>,
    hub: Hub,
    fates: Vec<FateHook>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("flavour", &self.flavour).finish_non_exhaustive()
    }
}

impl Engine {
    pub(super) fn new(
        clock: Clock,
        flavour: Flavour,
        random: fastrand::Rng,
        first_pid: u32,
        hub: Hub,
    ) -> Self {
        let state = State {
            clock: clock.clone(),
            flavour,
            random,
            last: Timestamp::MIN,
            serial: 0,
            last_pid: first_pid.saturating_sub(1),
            containers: HashMap::new(),
            ids: BTreeSet::new(),
            names: HashMap::new(),
            hub,
            fates: Vec::new(),
        };
        Self { state: Mutex::new(state), clock, flavour, endless_replays: false }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Queries.
impl State {
    /// Finds a container as dockerd does: by ID, by name, by the beginning of its ID.
    pub(super) fn find(&self, key: &str) -> Result<Arc<Container>, Error> {
        if let Some(container) = self.containers.get(key) {
            return Ok(Arc::clone(container));
        }
        let missing = || Error::NotFound(key.into());
        if let Some(id) = self.names.get(key.strip_prefix('/').unwrap_or(key)) {
            return self.containers.get(id).cloned().ok_or_else(missing);
        }
        let mut alike = self
            .ids
            .range::<str, _>((Bound::Included(key), Bound::Unbounded))
            .take_while(|id| !key.is_empty() && id.starts_with(key));
        let id = alike.next().ok_or_else(missing)?;
        if alike.next().is_some() {
            return Err(Error::Ambiguous(key.into()));
        }
        self.containers.get(id).cloned().ok_or_else(missing)
    }

    /// Returns all containers that match, in no particular order.
    pub(super) fn select(&self, wanted: impl Fn(&Container) -> bool) -> Vec<Arc<Container>> {
        self.containers.values().filter(|container| wanted(container)).cloned().collect()
    }

    pub(super) fn truth(&self) -> Vec<Alive> {
        self.containers.values().filter_map(|container| container.alive()).collect()
    }

    pub(super) fn listeners(&self) -> usize {
        self.hub.listeners()
    }

    pub(super) fn skipped(&self) -> u64 {
        self.hub.skipped()
    }
}

/// Events.
impl State {
    /// Returns the time of an event that happens now.
    pub(super) fn tick(&mut self) -> Timestamp {
        let (now, next) = (self.clock.now(), self.last.saturating_add(SignedDuration::from_nanos(1)));
        let next = next.unwrap_or(Timestamp::MAX);
        // Unless the clock was set back.
        let is_close = next.duration_since(now) < SignedDuration::from_secs(1);
        self.last = if is_close { now.max(next) } else { now };
        self.last
    }

    pub(super) fn emit(
        &mut self,
        kind: &str,
        action: &str,
        actor: &str,
        attributes: BTreeMap<String, String>,
    ) {
        let time = self.tick();
        let event = Event { kind: kind.into(), action: action.into(), actor: actor.into(), attributes, time };
        let mut fate = Fate::Deliver;
        for hook in &mut self.fates {
            if fate == Fate::Deliver {
                fate = hook(&event);
            }
        }
        self.hub.publish(event, fate);
    }

    pub(super) fn emit_of(&mut self, id: &str, action: &str, more: &[(&str, &str)]) {
        let Some(container) = self.containers.get(id).cloned() else { return };
        let lacks_labels = self.flavour() == Flavour::OldPodman && action == self.flavour().end();
        let mut attributes = if lacks_labels { BTreeMap::new() } else { (*container.labels).clone() };
        if self.flavour().is_podman() {
            attributes.insert("podId".into(), container.spec.pod_id());
        }
        attributes.insert("image".into(), container.spec.image.clone());
        attributes.insert("name".into(), container.name.to_string());
        attributes.extend(more.iter().map(|(key, value)| ((*key).into(), (*value).into())));
        self.emit("container", action, id, attributes);
    }

    pub(super) fn emit_line(&self, line: &Bytes) {
        self.hub.publish_line(line);
    }

    pub(super) fn register(&mut self, query: StreamQuery) -> (VecDeque<Bytes>, Arc<Listener>) {
        self.hub.register(query)
    }

    pub(super) fn deregister(&mut self, listener: &Arc<Listener>) {
        self.hub.deregister(listener);
    }

    pub(super) fn deregister_all(&mut self) {
        self.hub.deregister_all();
    }

    pub(super) fn end_events(&mut self) {
        self.hub.end_all();
    }

    pub(super) fn decide_fates(&mut self, hook: FateHook) {
        self.fates.push(hook);
    }
}

/// Parts of transitions.
impl State {
    pub(super) fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Returns 64 hexadecimal digits.
    pub(super) fn new_id(&mut self) -> String {
        (0..64).map(|_| self.random.digit(16)).collect()
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn next_pid(&mut self) -> u32 {
        self.last_pid = self.last_pid.checked_add(1).unwrap_or(2);
        self.last_pid
    }

    /// Fails if another container has this name.
    pub(super) fn claim(&self, name: &str) -> Result<(), Error> {
        match self.names.get(name) {
            Some(_) => Err(Error::impossible(name, "is the name of another container")),
            None => Ok(()),
        }
    }

    pub(super) fn add(&mut self, container: Container) {
        let id = Arc::clone(&container.id);
        self.ids.insert(Arc::clone(&id));
        self.names.insert(Arc::clone(&container.name), Arc::clone(&id));
        self.containers.insert(id, Arc::new(container));
    }

    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Container)) {
        if let Some(container) = self.containers.get_mut(id) {
            change(Arc::make_mut(container));
        }
    }

    pub(super) fn give_name(&mut self, container: &Container, name: Arc<str>) {
        self.names.remove(&container.name);
        self.names.insert(Arc::clone(&name), Arc::clone(&container.id));
        self.change(&container.id, |container| container.name = name);
    }

    pub(super) fn drop_container(&mut self, id: &str) {
        if let Some(container) = self.containers.remove(id) {
            self.ids.remove(id);
            self.names.remove(&container.name);
        }
    }

    pub(super) fn forget_events(&mut self) {
        self.hub.forget();
    }
}
