//! What is kept in mind of containers beyond the portfolio, within bounds.

use super::deadlines::Now;
use super::record::{Inquiry, Record};
use super::{Phase, REMEMBERED, Reconciler};
use crate::engine::ListingEntry;
use crate::model::ContainerId;

impl Reconciler {
    /// A list names a container that may turn out to be unresolved.
    pub(super) fn note_name(&mut self, id: &ContainerId, entry: &ListingEntry) {
        if self.portfolio.by_id(id).is_none() {
            let record = self.records.entry(id.clone()).or_default();
            record.listed_name = Some(entry.container().name().into());
        }
    }

    /// Notes whether a container's state is settled for now, and forgets what need not be remembered.
    pub(super) fn settle(&mut self, id: &ContainerId, now: Now) {
        if let Some(record) = self.records.get_mut(id) {
            let preview_bytes = record.preview.as_ref().map_or(0, |preview| preview.container.size());
            self.preview_bytes = self.preview_bytes.saturating_sub(record.preview_bytes) + preview_bytes;
            record.preview_bytes = preview_bytes;
            if record.inquiry == Inquiry::None {
                record.hinted_at = None;
                record.listed_name = None;
            }
            if !record.inquiry.is_settled() {
                return;
            }
        }
        if let Phase::Confirming { unsettled, .. } = &mut self.phase {
            unsettled.remove(id);
            self.go_live_if_settled(now);
        }
        self.forget(id);
    }

    /// Keeps the memory of those that are not alive within bounds.
    pub(super) fn forget(&mut self, id: &ContainerId) {
        if self.records.get(id).is_some_and(Record::is_blank) {
            self.remove(id);
            return;
        }
        let is_known = self.portfolio.by_id(id).is_some();
        let Some(record) = self.records.get_mut(id).filter(|record| !is_known && record.is_idle()) else {
            return;
        };
        if record.exit.is_none() && record.preview.is_none() && record.past.is_none() {
            if !record.remembered {
                self.remove(id);
            }
        } else if !record.remembered {
            record.remembered = true;
            self.remembered.push_back(id.clone());
        }
        self.bound_memory();
    }

    pub(super) fn bound_memory(&mut self) {
        while self.remembered.len() > REMEMBERED && !self.is_listing() {
            let Some(oldest) = self.remembered.pop_front() else { return };
            if let Some(record) = self.records.get_mut(&oldest) {
                record.remembered = false;
                if record.is_idle() && self.portfolio.by_id(&oldest).is_none() {
                    self.remove(&oldest);
                }
            }
        }
    }

    fn remove(&mut self, id: &ContainerId) {
        if let Some(record) = self.records.remove(id) {
            self.strangers -= usize::from(record.is_stranger);
            self.preview_bytes = self.preview_bytes.saturating_sub(record.preview_bytes);
        }
    }
}
