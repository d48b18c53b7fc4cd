//! What is to be in etcd, what is there, and which transaction comes next. No I/O and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::records::{EXITS, EnginePhase, EngineRecord, Key, Versioned as _};

/// The most operations of a transaction; etcd takes 128. Three more are needed for the claim and the host.
const MAX_KEYS: usize = 97;

/// The most bytes of keys and values in a transaction; etcd takes 1.5 MiB.
const MAX_BYTES: usize = 1024 * 1024;

type Value = Arc<[u8]>;

/// What to write in one transaction: a value, or nothing for what is to be deleted.
pub(crate) type Batch = Vec<(Key, Option<Value>)>;

/// The keys of a host: what is wanted, and what etcd is known to hold.
#[derive(Debug)]
pub(crate) struct Ledger {
    host: String,
    /// Containers and exits.
    wanted: BTreeMap<Key, Value>,
    engines: BTreeMap<String, EngineRecord>,
    /// Engines of which no container is alive but the wanted ones: they were in sync once, or left, or the
    /// host was booted since.
    settled: BTreeSet<String>,
    /// `None` for a key that a transaction in flight writes.
    held: BTreeMap<Key, Option<Value>>,
    /// The keys that are not as they are to be.
    dirty: BTreeSet<Key>,
    /// What is written together with the key of a container that is deleted: the exit of its life, or the key
    /// that the life has as that of another engine. So etcd holds each life, or its end, at each revision.
    companions: BTreeMap<Key, Key>,
    /// The slot of an engine's next exit.
    slots: BTreeMap<String, u8>,
    /// The transaction in flight, with what the keys held before.
    sent: Vec<(Key, Option<Value>, Option<Option<Value>>)>,
}

impl Ledger {
    pub(crate) fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            wanted: BTreeMap::new(),
            engines: BTreeMap::new(),
            settled: BTreeSet::new(),
            held: BTreeMap::new(),
            dirty: BTreeSet::new(),
            companions: BTreeMap::new(),
            slots: BTreeMap::new(),
            sent: Vec::new(),
        }
    }

    /// Sets what etcd holds, as it was read. `reborn` says that all lives in it ended with a former boot of the host.
    pub(crate) fn load(&mut self, items: Vec<(Key, Vec<u8>, i64)>, reborn: bool) {
        self.sent.clear();
        self.held.clear();
        let mut newest: BTreeMap<String, (i64, u8)> = BTreeMap::new();
        for (key, value, revision) in items {
            if let Key::Exit { engine, slot, .. } = &key {
                let newest = newest.entry(engine.clone()).or_insert((revision, *slot));
                *newest = (*newest).max((revision, *slot));
            }
            if reborn && let Some(engine) = key.engine() {
                self.settled.insert(engine.to_owned());
            }
            self.held.insert(key, Some(value.into()));
        }
        for (engine, (_, slot)) in newest {
            let next = slot.wrapping_add(1);
            self.slots.entry(engine).or_insert(next);
        }
        let engines = self.engines.keys().map(|engine| self.engine_key(engine));
        let keys: Vec<Key> = self.held.keys().chain(self.wanted.keys()).cloned().chain(engines).collect();
        self.dirty.clear();
        keys.into_iter().for_each(|key| self.refresh(key));
    }

    /// Sets the state of an engine.
    pub(crate) fn set_engine(&mut self, engine: &str, record: EngineRecord) {
        let settles = record.phase == EnginePhase::Live && self.settled.insert(engine.to_owned());
        self.engines.insert(engine.to_owned(), record);
        if settles {
            self.refresh_engine(engine);
        }
        self.refresh(self.engine_key(engine));
    }

    /// Forgets an engine that left, with all of its keys.
    pub(crate) fn remove_engine(&mut self, engine: &str) {
        self.engines.remove(engine);
        self.settled.insert(engine.to_owned());
        self.wanted.retain(|key, _| key.engine() != Some(engine));
        self.companions.retain(|key, other| key.engine() != Some(engine) && other.engine() != Some(engine));
        self.refresh_engine(engine);
    }

    /// An engine joined; what etcd holds of it may be alive.
    pub(crate) fn add_engine(&mut self, engine: &str, record: EngineRecord) {
        self.settled.remove(engine);
        self.set_engine(engine, record);
        self.refresh_engine(engine);
    }

    pub(crate) fn engines(&self) -> impl Iterator<Item = (&String, &EngineRecord)> {
        self.engines.iter()
    }

    pub(crate) fn set_container(&mut self, engine: &str, id: &str, value: Vec<u8>) {
        let key = self.container_key(engine, id);
        self.wanted.insert(key.clone(), value.into());
        self.refresh(key);
    }

    /// Removes a container, with the end of its life if that is known.
    pub(crate) fn remove_container(&mut self, engine: &str, id: &str, exit: Option<Vec<u8>>) {
        let key = self.container_key(engine, id);
        self.wanted.remove(&key);
        self.companions.retain(|_, other| *other != key);
        // A life that was never published has no end to publish, and of several only the published one has an end.
        if let Some(exit) = exit
            && self.held.contains_key(&key)
            && !self.companions.contains_key(&key)
        {
            let next = self.slots.entry(engine.to_owned()).or_insert(0);
            let slot = Key::Exit { host: self.host.clone(), engine: engine.to_owned(), slot: *next };
            *next = next.wrapping_add(1);
            // The ring is full of exits that are not written yet: the oldest is lost.
            self.companions.retain(|_, other| *other != slot);
            self.wanted.insert(slot.clone(), exit.into());
            self.companions.insert(key.clone(), slot.clone());
            self.refresh(slot);
        }
        self.refresh(key);
    }

    /// A container is another engine's from now on, in the same life.
    pub(crate) fn move_container(&mut self, from: (&str, &str), to: (&str, &str), value: Vec<u8>) {
        self.set_container(to.0, to.1, value);
        self.remove_container(from.0, from.1, None);
        let (from, to) = (self.container_key(from.0, from.1), self.container_key(to.0, to.1));
        if self.held.contains_key(&from) {
            self.companions.insert(from, to);
        }
    }

    /// Returns whether everything is as it is to be.
    pub(crate) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.sent.is_empty()
    }

    /// Returns what the transaction that claims the host writes: no engine is live whose containers are not
    /// as they are to be.
    pub(crate) fn begin_claim(&mut self) -> Batch {
        let engines: BTreeSet<String> =
            self.dirty.iter().filter_map(|key| key.engine().map(str::to_owned)).collect();
        let batch = engines.iter().filter_map(|engine| {
            let key = self.engine_key(engine);
            let target = self.target(&key)?;
            let not_live = match self.engines.get(engine) {
                Some(record) if record.phase == EnginePhase::Live => {
                    let record =
                        EngineRecord { phase: EnginePhase::Connecting, error: None, ..record.clone() };
                    Some(record.to_json().into())
                }
                _ => target,
            };
            (self.held.get(&key) != Some(&not_live)).then_some((key, not_live))
        });
        let batch: Batch = batch.take(MAX_KEYS).collect();
        self.send(batch)
    }

    /// Returns what the next transaction writes; `None` if there is nothing to write. It is in flight until one of
    /// [`applied`](Self::applied), [`not_applied`](Self::not_applied) and [`load`](Self::load).
    pub(crate) fn begin(&mut self) -> Option<Batch> {
        let mut batch = Batch::new();
        let mut bytes = 0;
        let mut add = |batch: &mut Batch, keys: &[(&Key, Option<Value>)]| {
            let size =
                keys.iter().map(|(key, value)| 200 + key_length(key) + value.as_ref().map_or(0, |v| v.len()));
            let size: usize = size.sum();
            let fits =
                batch.is_empty() || (batch.len() + keys.len() <= MAX_KEYS && bytes + size <= MAX_BYTES);
            if fits {
                bytes += size;
                batch.extend(keys.iter().map(|(key, value)| ((*key).clone(), value.clone())));
            }
            fits
        };
        let targets = || self.dirty.iter().filter_map(|key| Some((key, self.target(key)?)));
        let is_live = |key: &Key| {
            let record = key.engine().and_then(|engine| self.engines.get(engine));
            record.is_some_and(|record| record.phase == EnginePhase::Live)
        };
        let is_engine = |key: &Key| matches!(key, Key::Engine { .. });
        // First what says that containers are not what they were.
        let mut is_whole = targets()
            .filter(|(key, _)| is_engine(key) && !is_live(key))
            .all(|(key, target)| add(&mut batch, &[(key, target)]));
        let is_paired = |(key, _): &(&Key, &Key)| self.dirty.contains(*key);
        let paired: BTreeSet<&Key> =
            self.companions.iter().filter(is_paired).map(|(_, companion)| companion).collect();
        let mut late: BTreeSet<&str> = BTreeSet::new();
        for (key, target) in targets().filter(|(key, _)| !is_engine(key) && !paired.contains(key)) {
            let companion = self.companions.get(key).filter(|companion| self.dirty.contains(*companion));
            let companion = companion.and_then(|companion| Some((companion, self.target(companion)?)));
            let keys: Vec<_> = std::iter::once((key, target)).chain(companion.clone()).collect();
            is_whole &= is_whole && add(&mut batch, &keys);
            if !is_whole {
                late.extend(key.engine());
                late.extend(companion.and_then(|(companion, _)| companion.engine()));
            }
        }
        // An engine is live once its containers are as they are to be.
        for (key, target) in targets().filter(|(key, _)| is_engine(key) && is_live(key)) {
            if !key.engine().is_some_and(|engine| late.contains(engine)) {
                add(&mut batch, &[(key, target)]);
            }
        }
        (!batch.is_empty()).then(|| self.send(batch))
    }

    fn send(&mut self, batch: Batch) -> Batch {
        for (key, value) in &batch {
            let before = self.held.insert(key.clone(), None);
            self.sent.push((key.clone(), value.clone(), before));
            self.dirty.remove(key);
        }
        batch
    }

    /// The transaction in flight was applied.
    pub(crate) fn applied(&mut self) {
        for (key, value, _) in std::mem::take(&mut self.sent) {
            match value {
                Some(value) => self.held.insert(key.clone(), Some(value)),
                None => self.held.remove(&key),
            };
            self.refresh(key);
        }
        let is_written =
            |key: &Key| self.held.get(key).is_some_and(|held| held.as_ref() == self.wanted.get(key));
        self.companions.retain(|key, companion| self.dirty.contains(key) && !is_written(companion));
    }

    /// The transaction in flight was not applied, and will not be.
    pub(crate) fn not_applied(&mut self) {
        for (key, _, before) in std::mem::take(&mut self.sent) {
            match before {
                Some(before) => self.held.insert(key.clone(), before),
                None => self.held.remove(&key),
            };
            self.refresh(key);
        }
    }

    fn refresh_engine(&mut self, engine: &str) {
        let keys = self.held.keys().chain(self.wanted.keys()).filter(|key| key.engine() == Some(engine));
        let keys: Vec<Key> = keys.cloned().collect();
        keys.into_iter().for_each(|key| self.refresh(key));
    }

    fn refresh(&mut self, key: Key) {
        let is_dirty = match (self.target(&key), self.held.get(&key)) {
            (None, _) | (Some(None), None) => false,
            (Some(target), Some(Some(held))) => target.as_ref() != Some(held),
            (Some(_), _) => true,
        };
        if is_dirty {
            self.dirty.insert(key);
        } else {
            self.dirty.remove(&key);
        }
    }

    /// Returns the value that a key is to have, or that it is to be deleted; `None` if it is to stay as it is.
    fn target(&self, key: &Key) -> Option<Option<Value>> {
        let engine = key.engine()?;
        let (is_watched, is_settled) = (self.engines.contains_key(engine), self.settled.contains(engine));
        match key {
            Key::Engine { .. } => match self.engines.get(engine) {
                Some(record) => Some(Some(record.to_json().into())),
                None if is_settled => Some(None),
                None => self.unwatched(key),
            },
            _ => match self.wanted.get(key) {
                Some(value) => Some(Some(value.clone())),
                None => match key {
                    Key::Container { .. } if is_settled => Some(None),
                    Key::Exit { .. } if is_settled && !is_watched => Some(None),
                    _ => None,
                },
            },
        }
    }

    /// What to hold of an engine that a former agent watched and this one does not.
    fn unwatched(&self, key: &Key) -> Option<Option<Value>> {
        let held = self.held.get(key)?.as_ref()?;
        let record = EngineRecord::from_json("", held).ok();
        Some(record.map(|record| {
            let error = Some("the agent does not watch it (any more)".to_owned());
            EngineRecord { phase: EnginePhase::Ended, error, ..record }.to_json().into()
        }))
    }

    fn engine_key(&self, engine: &str) -> Key {
        Key::Engine { host: self.host.clone(), engine: engine.to_owned() }
    }

    fn container_key(&self, engine: &str, id: &str) -> Key {
        Key::Container { host: self.host.clone(), engine: engine.to_owned(), id: id.to_owned() }
    }
}

/// About how long a key is, with its parts escaped.
fn key_length(key: &Key) -> usize {
    let id = if let Key::Container { id, .. } = key { id.len() } else { 2 };
    3 * (key.host().len() + key.engine().map_or(0, str::len) + id)
}

const _: () = assert!(EXITS == 256, "a slot is a byte");
