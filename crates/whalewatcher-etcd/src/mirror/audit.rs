//! Comparing the mirror with the keys that the store holds: a watch can omit an event. etcd before 3.5.18
//! omits a delete if the watch is opened at the revision of a compaction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::host::MirroredHost;
use crate::records::Key;

/// An audit that is being made.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// The keys of which the watch reported something meanwhile.
    touched: HashSet<Key>,
    /// The revision of the list, and the revisions of all values in it.
    listed: Option<(i64, HashMap<Key, i64>)>,
}

impl Audit {
    pub(super) fn touch(&mut self, key: &Key) {
        self.touched.insert(key.clone());
    }

    pub(super) fn listed(&mut self, revision: i64, keys: Vec<(Key, i64)>) {
        self.listed = Some((revision, keys.into_iter().collect()));
    }

    /// Returns whether the watch has come as far as the list.
    pub(super) fn is_due(&self, revision: i64) -> bool {
        self.listed.as_ref().is_some_and(|(listed, _)| *listed <= revision)
    }

    /// Returns how many keys differ.
    pub(super) fn differences(self, hosts: &BTreeMap<Arc<str>, MirroredHost>) -> usize {
        let Some((_, mut listed)) = self.listed else { return 0 };
        let mut differences = 0;
        for (id, host) in hosts {
            host.for_each_key(id, |key, modified| {
                let is_same = listed.remove(&key) == Some(modified);
                if !is_same && !self.touched.contains(&key) {
                    differences += 1;
                }
            });
        }
        differences + listed.keys().filter(|key| !self.touched.contains(*key)).count()
    }
}

impl MirroredHost {
    pub(super) fn for_each_key(&self, id: &str, mut each: impl FnMut(Key, i64)) {
        let host = || id.to_owned();
        if let Some(claimed) = &self.claim {
            each(Key::Claim { host: host() }, claimed.modified);
        }
        if let Some(about) = &self.about {
            each(Key::Host { host: host() }, about.modified);
        }
        for (name, engine) in &self.engines {
            let engine_name = || name.to_string();
            if let Some(record) = &engine.record {
                each(Key::Engine { host: host(), engine: engine_name() }, record.modified);
            }
            for (id, contents) in engine.containers.iter().filter(|(_, contents)| contents.is_stored()) {
                let key = Key::Container { host: host(), engine: engine_name(), id: id.as_str().to_owned() };
                each(key, contents.modified);
            }
            for (slot, exit) in &engine.exits {
                each(Key::Exit { host: host(), engine: engine_name(), slot: *slot }, exit.modified);
            }
        }
    }
}
