//! The fingerprint of a world: equal for states from which the same can follow.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::lists::Named;
use super::super::*;
use super::world::{World, id};

impl World {
    /// Equal for states from which the same can follow.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.bounds, self.wrong, self.hasty, self.misled).hash(&mut hasher);
        (&self.subjects, self.connected, &self.list, self.looked, self.listed, self.gap, self.clock)
            .hash(&mut hasher);
        self.reconciler
            .fingerprint(&self.subjects.iter().enumerate().map(|(nth, _)| id(nth)).collect::<Vec<_>>())
            .hash(&mut hasher);
        hasher.finish()
    }
}

impl Reconciler {
    /// Its state as text, in an order that does not depend on how hash maps feel today.
    fn fingerprint(&self, ids: &[ContainerId]) -> String {
        let mut text = String::new();
        let set = |set: &HashSet<ContainerId>| ids.iter().map(|id| set.contains(id)).collect::<Vec<_>>();
        let named = |all: &Named| ids.iter().map(|id| Some(all.contains(id))).collect::<Vec<_>>();
        let phase = match &self.phase {
            Phase::Disconnected => (0, vec![]),
            Phase::Listing => (1, vec![]),
            Phase::Confirming { unsettled, complete } => {
                (2 + 2 * u8::from(!complete), ids.iter().map(|id| unsettled.get(id).copied()).collect())
            }
            Phase::Live => (3, vec![]),
        };
        let lists = match &self.lists {
            ListState::Idle => (0, vec![]),
            ListState::Pending { required } => (1 + u8::from(*required), vec![]),
            ListState::Deferred => (3, vec![]),
            ListState::InFlight { required, again, named: all } => {
                (4 + u8::from(*required) + 2 * u8::from(*again), named(all))
            }
        };
        let records: Vec<_> = ids.iter().map(|id| (self.records.get(id), self.failures.times(id))).collect();
        let queues = (&self.fresh, &self.retries, &self.tombstones, set(&self.unconfirmed));
        let _ = write!(text, "{phase:?} {lists:?} {records:?} {queues:?} {:?}", self.portfolio);
        text
    }
}
