//! Records: when a container is settled, and which records are kept, within bounds.

use super::deadlines::Now;
use super::record::{Inspection, Record};
use super::{MAX_FINAL_TOMBSTONES, MAX_TOMBSTONES, Phase, Reconciler};
use crate::engine::ListingEntry;
use crate::model::ContainerId;

impl Reconciler {
    /// Keeps the name of a listed container, for the case that its inspection fails.
    pub(super) fn set_listed_name(&mut self, id: &ContainerId, entry: &ListingEntry) {
        if self.portfolio.by_id(id).is_none() {
            let record = self.records.entry(id.clone()).or_default();
            record.listed_name = Some(entry.container().name().into());
        }
    }

    /// Whether a container is over for good: where an ID has one life, no event, list or answer brings it back.
    pub(super) fn has_ended(&self, id: &ContainerId) -> bool {
        let is_over = |record: &Record| record.exit.is_some() || record.tombstone.is_some();
        self.has_one_life_per_id
            && self.records.get(id).is_some_and(is_over)
            && self.portfolio.by_id(id).is_none()
    }

    /// Updates what depends on whether a container is settled, and forgets what need not be kept.
    pub(super) fn settle(&mut self, id: &ContainerId, now: Now) {
        if let Some(record) = self.records.get_mut(id) {
            let preview_bytes = record.preview().map_or(0, |preview| preview.container.size());
            self.preview_bytes = self.preview_bytes.saturating_sub(record.preview_bytes) + preview_bytes;
            record.preview_bytes = preview_bytes;
            if record.inspection == Inspection::None {
                record.hinted_at = None;
                record.listed_name = None;
            }
            if !record.inspection.is_settled() {
                return;
            }
        }
        if let Phase::Confirming { unsettled, .. } = &mut self.phase {
            unsettled.remove(id);
            self.go_live_if_settled(now);
        }
        self.forget(id);
    }

    /// Removes the record of a container that is not alive, or makes it a tombstone.
    pub(super) fn forget(&mut self, id: &ContainerId) {
        if self.records.get(id).is_some_and(Record::is_blank) {
            self.remove(id);
            return;
        }
        let is_known = self.portfolio.by_id(id).is_some();
        let Some(record) = self.records.get_mut(id).filter(|record| !is_known && record.is_idle()) else {
            return;
        };
        if record.exit.is_none() && record.preview().is_none() && record.tombstone.is_none() {
            if !record.is_entombed {
                self.remove(id);
            }
        } else if !record.is_entombed {
            record.is_entombed = true;
            self.tombstones.push_back(id.clone());
        }
        self.bound_memory();
    }

    /// Forgets the oldest tombstones beyond the bound, but not while a list may show their containers as alive.
    pub(super) fn bound_memory(&mut self) {
        let most = if self.has_one_life_per_id { MAX_FINAL_TOMBSTONES } else { MAX_TOMBSTONES };
        while self.tombstones.len() > most && !self.is_listing() {
            let Some(oldest) = self.tombstones.pop_front() else { return };
            if let Some(record) = self.records.get_mut(&oldest) {
                record.is_entombed = false;
                if record.is_idle() && self.portfolio.by_id(&oldest).is_none() {
                    self.remove(&oldest);
                }
            }
        }
    }

    fn remove(&mut self, id: &ContainerId) {
        if let Some(record) = self.records.remove(id) {
            self.unverified -= usize::from(record.is_unverified);
            self.preview_bytes = self.preview_bytes.saturating_sub(record.preview_bytes);
        }
    }
}
