//! What the store holds of one engine, and the events that its changes are.

use std::collections::BTreeMap;

use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{Container, ContainerId};

use super::{Effect, EngineName, system_time};
use crate::records::{EngineRecord, ExitRecord, Key, Record, RecordError};

/// A value and its revision.
#[derive(Clone, Debug)]
pub(crate) struct Stored<T> {
    pub(crate) modified: i64,
    pub(crate) value: T,
}

/// A container, or why it cannot be read.
pub(crate) type Contents = Stored<Result<Container, RecordError>>;

/// What the store holds of one engine.
#[derive(Debug, Default)]
pub(crate) struct MirroredEngine {
    pub(crate) record: Option<Stored<Result<EngineRecord, RecordError>>>,
    /// The newest record that could be read.
    pub(crate) known: Option<EngineRecord>,
    pub(crate) containers: BTreeMap<ContainerId, Contents>,
    /// The ring of the newest exits.
    pub(crate) exits: BTreeMap<u8, Stored<Option<ExitRecord>>>,
}

impl MirroredEngine {
    pub(super) fn is_empty(&self) -> bool {
        self.record.is_none() && self.containers.is_empty() && self.exits.is_empty()
    }

    /// Returns whether its host publishes it: containers and exits alone are no engine.
    pub(crate) fn is_published(&self) -> bool {
        self.record.is_some() && self.known.is_some()
    }

    /// Returns what distinguishes this engine from another one at the same endpoint.
    pub(super) fn identity_key(&self) -> Option<String> {
        let record = self.known.as_ref()?;
        Some(format!("{} {}", record.engine.engine_type, record.engine.id))
    }

    /// Takes over the value of a key that is one of this engine's.
    pub(super) fn put(&mut self, key: &Key, modified: i64, record: Result<Record, RecordError>) {
        match (key, record) {
            (_, Ok(Record::Engine(engine))) => {
                self.known = Some(engine.clone());
                self.record = Some(Stored { modified, value: Ok(engine) });
            }
            (Key::Engine { .. }, Err(error)) => self.record = Some(Stored { modified, value: Err(error) }),
            (Key::Container { id, .. }, record) => {
                let value = match record {
                    Ok(Record::Container(container)) => Ok(container.container),
                    Ok(_) => return,
                    Err(error) => Err(error),
                };
                self.containers.insert(id.as_str().into(), Stored { modified, value });
            }
            (Key::Exit { slot, .. }, record) => {
                let value = match record {
                    Ok(Record::Exit(exit)) => Some(exit),
                    _ => None,
                };
                self.exits.insert(*slot, Stored { modified, value });
            }
            _ => {}
        }
    }

    pub(super) fn delete(&mut self, key: &Key) {
        match key {
            Key::Engine { .. } => (self.record, self.known) = (None, None),
            Key::Container { id, .. } => drop(self.containers.remove(&**id)),
            Key::Exit { slot, .. } => drop(self.exits.remove(slot)),
            Key::Claim { .. } | Key::Host { .. } => {}
        }
    }

    /// Returns the exits that were published after a revision.
    pub(crate) fn exits_after(&self, revision: i64) -> impl Iterator<Item = &ExitRecord> {
        let newer = self.exits.values().filter(move |exit| exit.modified > revision);
        newer.filter_map(|exit| exit.value.as_ref())
    }

    /// Reports the difference to what was known of this engine before.
    pub(super) fn report_difference(
        &self,
        name: &EngineName,
        before: Option<&MirroredEngine>,
        effects: &mut Vec<Effect>,
    ) {
        let none = BTreeMap::new();
        let was = before.map_or(&none, |before| &before.containers);
        for id in was.keys().chain(self.containers.keys().filter(|id| !was.contains_key(*id))) {
            self.report(name, id, was.get(id), effects);
        }
    }

    /// Reports what has become of a container, which was like this before.
    pub(super) fn report(
        &self,
        name: &EngineName,
        id: &str,
        was: Option<&Contents>,
        effects: &mut Vec<Effect>,
    ) {
        let mut event = |event| effects.push(Effect::Event(name.clone(), event));
        let key = id;
        let id = || ContainerId::from(key);
        let touched = || EngineEvent::Touched { id: id(), at: None };
        let (was, is) = (was.map(|was| &was.value), self.containers.get(key).map(|is| &is.value));
        match (was, is) {
            (None, None) => {}
            (None, Some(Ok(container))) => event(started(container)),
            (Some(Ok(was)), Some(Ok(is))) if is_same_life(was, is) => {
                if was != is {
                    event(EngineEvent::Changed { id: id(), at: None });
                }
            }
            (Some(Ok(was)), Some(Ok(is))) => {
                event(self.exited(was));
                event(started(is));
            }
            (Some(Ok(was)), None) => event(self.exited(was)),
            (Some(Err(_)), _) | (_, Some(Err(_))) => event(touched()),
        }
    }

    /// Returns the exit of a life, with the code that the ring has.
    fn exited(&self, life: &Container) -> EngineEvent {
        let mut exits = self.exits.values().filter_map(|exit| exit.value.as_ref());
        let exit = exits.find(|exit| {
            let began = exit.started_at.map(system_time);
            exit.id == *life.id() && exit.pid == life.pid() && began == life.started_at()
        });
        EngineEvent::Exited {
            id: life.id().clone(),
            pid: Some(life.pid()).filter(|pid| *pid != 0),
            at: exit.map(|exit| system_time(exit.time)),
            code: exit.and_then(|exit| exit.exit_code),
        }
    }
}

fn is_same_life(one: &Container, other: &Container) -> bool {
    one.pid() == other.pid() && one.started_at() == other.started_at()
}

fn started(container: &Container) -> EngineEvent {
    EngineEvent::Started {
        id: container.id().clone(),
        at: container.started_at(),
        pid: Some(container.pid()).filter(|pid| *pid != 0),
        preview: Some(Box::new(container.clone())),
    }
}
