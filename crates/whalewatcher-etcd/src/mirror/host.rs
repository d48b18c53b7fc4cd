//! What the store holds of one host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::{Timestamp, Unit};
use whalewatcher_core::{EngineError, ErrorKind};

use super::engine::{MirroredEngine, Stored};
use super::moved::Moved;
use super::{Change, Effect, EngineName, Item, entry};
use crate::records::{ClaimRecord, EnginePhase, HostRecord, Key, Record};

/// The claim of an agent, which is there for as long as the agent renews it.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) modified: i64,
    /// `None` if it cannot be read.
    pub(crate) claim: Option<ClaimRecord>,
}

/// What the store holds of one host.
#[derive(Debug, Default)]
pub(crate) struct MirroredHost {
    pub(crate) claim: Option<Claimed>,
    pub(crate) about: Option<Stored<Option<HostRecord>>>,
    pub(crate) engines: BTreeMap<Arc<str>, MirroredEngine>,
    pub(super) moved: Moved,
    /// When this mirror saw that the claim was gone. `None` if it has not been there since this mirror exists.
    pub(crate) unclaimed_since: Option<SystemTime>,
    /// Whether it has been silent for so long that its engines have left.
    pub(crate) is_forgotten: bool,
}

/// Whether what the store holds of an engine is up to date.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Link {
    Live,
    Down(Arc<EngineError>),
}

impl MirroredHost {
    /// Returns the host's name, or its ID where that is not known.
    pub(crate) fn name<'a>(&'a self, id: &'a str) -> &'a str {
        let claimed = self.claim.as_ref().and_then(|claimed| claimed.claim.as_ref());
        let about = || self.about.as_ref().and_then(|about| about.value.as_ref());
        claimed.map(|claim| &*claim.hostname).or_else(|| about().map(|about| &*about.hostname)).unwrap_or(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claim.is_none() && self.about.is_none() && self.engines.values().all(MirroredEngine::is_empty)
    }

    /// Returns whether an engine is up to date, and if not, why. The claim alone decides whether the record
    /// counts: the transaction that makes a claim also marks those engines whose containers are not what is
    /// published. Without a claim only its end is certain.
    pub(crate) fn link(&self, id: &str, engine: &MirroredEngine) -> Link {
        let down = |kind, message: String| Link::Down(Arc::new(EngineError::new(kind, message)));
        let name = self.name(id);
        let record = engine.record.as_ref().and_then(|record| record.value.as_ref().ok());
        let has_ended = record.is_some_and(|record| record.phase == EnginePhase::Ended);
        if self.claim.is_none() && !has_ended {
            let silent = match self.unclaimed_since.and_then(|time| Timestamp::try_from(time).ok()) {
                Some(since) => format!("has not published anything since {}", moment(since)),
                None => "is silent".to_owned(),
            };
            let message = format!("host {name} {silent}: it is down, or cannot reach etcd");
            return down(ErrorKind::Unreachable, message);
        }
        match &engine.record {
            Some(Stored { value: Err(error), .. }) => down(ErrorKind::Malformed, error.to_string()),
            Some(Stored { value: Ok(record), .. }) => match record.phase {
                EnginePhase::Live => Link::Live,
                phase => {
                    let phase = match phase {
                        EnginePhase::Connecting => "the engine is not in sync yet",
                        EnginePhase::Ended => "the engine is not watched any more",
                        _ => "the engine cannot be reached",
                    };
                    let since = moment(record.since);
                    let reason = record.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                    down(ErrorKind::Disconnected, format!("host {name}: {phase} since {since}{reason}"))
                }
            },
            None => down(ErrorKind::Disconnected, format!("host {name} does not publish it any more")),
        }
    }

    /// Takes over an item of a list, and reports nothing.
    pub(super) fn put(&mut self, item: Item) {
        let Item { key, modified, record } = item;
        match (key, record) {
            (Key::Claim { .. }, record) => {
                let claim = match record {
                    Ok(Record::Claim(claim)) => Some(claim),
                    _ => None,
                };
                self.claim = Some(Claimed { modified, claim });
            }
            (Key::Host { .. }, record) => {
                let value = match record {
                    Ok(Record::Host(host)) => Some(host),
                    _ => None,
                };
                self.about = Some(Stored { modified, value });
            }
            (key, record) => {
                if let Some(engine) = key.engine() {
                    entry(&mut self.engines, engine).put(&key, modified, record);
                }
            }
        }
    }

    fn delete(&mut self, key: &Key) {
        match key {
            Key::Claim { .. } => self.claim = None,
            Key::Host { .. } => self.about = None,
            key => {
                if let Some(engine) = key.engine().and_then(|engine| self.engines.get_mut(engine)) {
                    engine.delete(key);
                }
            }
        }
    }

    /// Applies changes of one revision, and reports what they mean.
    pub(super) fn apply(
        &mut self,
        id: &str,
        changes: Vec<Change>,
        now: SystemTime,
        effects: &mut Vec<Effect>,
    ) {
        let concerns_all = |key: &Key| key.engine().is_none();
        let all = changes.iter().any(|change| concerns_all(change.key()));
        let was_claimed = self.claim.is_some();
        let names: Vec<String> =
            changes.iter().filter_map(|change| change.key().engine().map(str::to_owned)).collect();
        for name in &names {
            entry(&mut self.engines, name);
        }
        // Only what changes is remembered as it was.
        let mut before = BTreeMap::new();
        for (name, engine) in &self.engines {
            if all || names.iter().any(|meant| **meant == **name) {
                before.insert(
                    name.clone(),
                    (engine.identity_key(), self.publishes(engine), self.link(id, engine)),
                );
            }
        }
        let mut former = Vec::new();
        for change in changes {
            let key = change.key().clone();
            let was = match &key {
                Key::Container { engine, id, .. } => {
                    self.engines.get(&**engine).and_then(|engine| engine.containers.get(&**id)).cloned()
                }
                _ => None,
            };
            match change {
                Change::Put(item) => self.put(*item),
                Change::Deleted(key) => self.delete(&key),
            }
            if let Key::Container { engine, id, .. } = key {
                former.push((engine, id, was));
            }
        }
        self.note_claim(was_claimed, now);
        for (engine, (identity, ..)) in &before {
            self.note_identity(engine, identity.as_deref());
        }
        former.retain(|(engine, container, was)| !self.has_moved(engine, container, was.as_ref()));
        if !names.is_empty() {
            former.extend(self.end_moved());
        }
        // Exits are in the ring by now, wherever they were among the changes.
        for (engine, container, was) in former {
            if let Some(mirrored) = self.engines.get(&*engine).filter(|engine| engine.is_published()) {
                let name = EngineName::new(id, &engine);
                mirrored.report(&name, &container, was.as_ref(), effects);
            }
        }
        for (engine, before) in before {
            self.report_engine(id, &engine, Some(before), effects);
        }
        self.engines.retain(|_, engine| !engine.is_empty());
    }

    /// Reports the difference to what was known before.
    pub(super) fn report_difference(
        &mut self,
        id: &str,
        before: &MirroredHost,
        now: SystemTime,
        effects: &mut Vec<Effect>,
    ) {
        (self.unclaimed_since, self.is_forgotten) = (before.unclaimed_since, before.is_forgotten);
        self.note_claim(before.claim.is_some(), now);
        for (name, was) in &before.engines {
            let engine = self.engines.entry(name.clone()).or_default();
            if engine.record.is_some() && engine.known.is_none() {
                engine.known.clone_from(&was.known);
            }
        }
        self.keep_moved(before);
        for (name, engine) in &self.engines {
            let named = EngineName::new(id, name);
            let was = before.engines.get(name);
            if engine.is_published() {
                engine.report_difference(&named, was, effects);
            }
            let state = was.map(|was| (was.identity_key(), before.publishes(was), before.link(id, was)));
            self.report_engine(id, name, state, effects);
        }
        self.engines.retain(|_, engine| !engine.is_empty());
    }

    fn note_claim(&mut self, was_claimed: bool, now: SystemTime) {
        if self.claim.is_some() {
            (self.unclaimed_since, self.is_forgotten) = (None, false);
        } else if was_claimed {
            self.unclaimed_since = Some(now);
        }
    }

    /// Reports whether an engine joined, left, or has another state than before.
    fn report_engine(
        &self,
        id: &str,
        engine: &str,
        before: Option<(Option<String>, bool, Link)>,
        effects: &mut Vec<Effect>,
    ) {
        let name = EngineName::new(id, engine);
        let mirrored = self.engines.get(engine);
        let is_published = mirrored.is_some_and(|engine| self.publishes(engine));
        let was_published = before.as_ref().is_some_and(|(_, was, _)| *was);
        match (was_published, is_published) {
            (false, true) => effects.push(Effect::Joined(name)),
            (true, false) => effects.push(Effect::Left(name)),
            (true, true) => {
                let now = mirrored.map(|engine| (engine.identity_key(), self.link(id, engine)));
                let before = before.map(|(identity, _, link)| (identity, link));
                if now != before {
                    effects.push(Effect::Link(name));
                }
            }
            (false, false) => {}
        }
    }
}

/// Returns a time as people read it, in UTC and to the second.
fn moment(time: Timestamp) -> String {
    let time = time.round(Unit::Second).unwrap_or(time);
    time.to_string()
}
