//! What the store holds, as far as lists and watches have shown it, and what became of each engine in it. A
//! state machine without I/O and clock: lists and watch responses go in, [`Effect`]s come out.
//!
//! A list replaces everything at once, and its difference to what was known before is what a watch would have
//! reported. So it does not matter why a list was made: at the start, after a compaction or a lost
//! connection, or because the store was restored from an older snapshot and its revision went back.

mod audit;
mod engine;
mod host;
mod moved;
mod silence;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use whalewatcher_core::adapter::EngineEvent;

use crate::records::{Key, Record, RecordError};
use audit::Audit;
pub(crate) use engine::{Contents, MirroredEngine};
pub(crate) use host::{Link, MirroredHost};

/// An engine of a host: the ID of the host, and of the engine there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EngineName {
    pub(crate) host: Arc<str>,
    pub(crate) engine: Arc<str>,
}

impl EngineName {
    fn new(host: &str, engine: &str) -> Self {
        Self { host: host.into(), engine: engine.into() }
    }
}

/// A key of the store with its value.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) key: Key,
    /// The revision of its newest value.
    pub(crate) modified: i64,
    /// The error says why the value cannot be read.
    pub(crate) record: Result<Record, RecordError>,
}

/// What a watch reports.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Box<Item>),
    Deleted(Key),
}

impl Change {
    fn key(&self) -> &Key {
        match self {
            Self::Put(item) => &item.key,
            Self::Deleted(key) => key,
        }
    }
}

/// What became of an engine.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Its host publishes it.
    Joined(EngineName),
    /// Its host publishes it no more, or the host was forgotten.
    Left(EngineName),
    /// Whether it is up to date may have changed, or which engine it is.
    Link(EngineName),
    /// Something happened to a container of it.
    Event(EngineName, EngineEvent),
    /// So many keys differ from what the store holds although all events were handled: a list is due.
    Drift(usize),
}

/// The mirror of all keys below a prefix.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// Everything up to this revision is known.
    revision: i64,
    hosts: BTreeMap<Arc<str>, MirroredHost>,
    audit: Option<Audit>,
    effects: Vec<Effect>,
}

impl Mirror {
    /// Returns the revision up to which everything is known.
    pub(crate) fn revision(&self) -> i64 {
        self.revision
    }

    /// Returns all hosts by their IDs.
    pub(crate) fn hosts(&self) -> &BTreeMap<Arc<str>, MirroredHost> {
        &self.hosts
    }

    /// Returns an engine, if its host publishes it.
    pub(crate) fn engine(&self, name: &EngineName) -> Option<(&MirroredHost, &MirroredEngine)> {
        let host = self.hosts.get(&name.host)?;
        Some((host, host.engines.get(&name.engine).filter(|engine| host.publishes(engine))?))
    }

    /// Returns what has happened since the last call.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Takes over a whole list at this revision, and reports the difference.
    pub(crate) fn replace(&mut self, revision: i64, items: Vec<Item>, now: SystemTime) {
        self.audit = None;
        let mut listed = BTreeMap::<Arc<str>, MirroredHost>::new();
        for item in items {
            entry(&mut listed, item.key.host()).put(item);
        }
        self.revision = revision;
        let mut former = std::mem::take(&mut self.hosts);
        for (id, host) in listed {
            let before = former.remove(&id).unwrap_or_default();
            self.put_host(id, &before, host, now);
        }
        for (id, before) in former {
            self.put_host(id, &before, MirroredHost::default(), now);
        }
    }

    /// Applies what a watch reports at one revision.
    pub(crate) fn apply(&mut self, revision: i64, changes: Vec<Change>, now: SystemTime) {
        let mut by_host = BTreeMap::<String, Vec<Change>>::new();
        for change in changes {
            if let Some(audit) = &mut self.audit {
                audit.touch(change.key());
            }
            by_host.entry(change.key().host().to_owned()).or_default().push(change);
        }
        for (id, changes) in by_host {
            let host = entry(&mut self.hosts, &id);
            host.apply(&id, changes, now, &mut self.effects);
            if host.is_empty() {
                self.hosts.remove(&*id);
            }
        }
        self.progressed(revision);
    }

    /// Notes that the watch has reported everything up to this revision.
    pub(crate) fn progressed(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
        let audit = self.audit.take_if(|audit| audit.is_due(self.revision));
        if let Some(audit) = audit {
            let drift = audit.differences(&self.hosts);
            if drift > 0 {
                self.effects.push(Effect::Drift(drift));
            }
        }
    }

    /// Begins an audit: what changes from now on is not compared.
    pub(crate) fn begin_audit(&mut self) {
        self.audit = Some(Audit::default());
    }

    /// Takes the keys that the store holds at this revision, with the revisions of their values. They are
    /// compared once the watch has come that far.
    pub(crate) fn end_audit(&mut self, revision: i64, keys: Vec<(Key, i64)>) {
        if let Some(audit) = &mut self.audit {
            audit.listed(revision, keys);
        }
        self.progressed(self.revision);
    }

    fn put_host(&mut self, id: Arc<str>, before: &MirroredHost, mut host: MirroredHost, now: SystemTime) {
        host.report_difference(&id, before, now, &mut self.effects);
        if !host.is_empty() {
            self.hosts.insert(id, host);
        }
    }
}

/// Returns a time of a record. All that jiff can hold can be one of the system.
pub(crate) fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::try_from(time).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Returns the value of a key, which is made if there is none.
fn entry<'a, V: Default>(map: &'a mut BTreeMap<Arc<str>, V>, key: &str) -> &'a mut V {
    map.entry(key.into()).or_default()
}
