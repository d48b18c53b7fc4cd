//! Audits: a list is compared with the portfolio.

use foldhash::HashMap;

use super::Reconciler;
use super::deadlines::{Deadline, GRACE, Now};
use super::lists::Named;
use super::record::{Inspection, Mismatch};
use crate::engine::{ListingEntry, UnlistedScopes};
use crate::model::ContainerId;

impl Reconciler {
    /// Compares a list with the portfolio.
    ///
    /// The list may be ahead of the event stream or behind it, so a container that it shows differently is a
    /// mismatch first, with a grace period in which events may explain it. So is one with an inspection in
    /// flight: the answer may be older than the list, and a later event lost.
    ///
    /// A mismatch is explained from the beginning, and so no drift, if an event came since the list was
    /// requested, or if what an event led to is still under way.
    pub(super) fn audit(
        &mut self,
        entries: Vec<ListingEntry>,
        unlisted_scopes: &UnlistedScopes,
        named: &Named,
        now: Now,
    ) {
        let mut candidates: Vec<_> = self.portfolio.ids().cloned().collect();
        let mut listed = HashMap::default();
        for entry in entries {
            let id = entry.container().id().clone();
            if self.portfolio.by_id(&id).is_none() {
                candidates.push(id.clone());
            }
            listed.insert(id, entry);
        }
        let in_flight =
            self.records.iter().filter(|(_, record)| matches!(record.inspection, Inspection::InFlight(_)));
        let unknown = |id: &&ContainerId| self.portfolio.by_id(id).is_none() && !listed.contains_key(*id);
        candidates.extend(in_flight.map(|(id, _)| id).filter(unknown).cloned());
        for id in candidates.into_iter().filter(|id| !unlisted_scopes.contains(id)) {
            let entry = listed.remove(&id);
            let as_listed = self.is_as_listed(&id, entry.as_ref());
            if as_listed && !matches!(self.inspection(&id), Inspection::InFlight(_)) {
                if self.records.get_mut(&id).is_some_and(|record| record.mismatch.take().is_some()) {
                    self.deadlines.cancel(Deadline::Drift(id.clone()));
                    self.forget(&id);
                }
                continue;
            }
            let record = self.records.entry(id.clone()).or_default();
            let explained = named.contains(&id) || record.inspection != Inspection::None;
            match &mut record.mismatch {
                // A lasting mismatch gets no second grace period.
                Some(mismatch) => {
                    mismatch.listed = entry;
                    mismatch.explained |= explained;
                }
                mismatch @ None => {
                    *mismatch = Some(Box::new(Mismatch { listed: entry, explained }));
                    self.deadlines.set(Deadline::Drift(id), now.instant + GRACE);
                }
            }
        }
        self.release_capacity();
    }

    fn is_as_listed(&self, id: &ContainerId, entry: Option<&ListingEntry>) -> bool {
        match (self.portfolio.by_id(id), entry) {
            (Some(known), Some(entry)) => entry.shows(known),
            (None, None) => true,
            _ => false,
        }
    }

    /// Publishes the exit of a life that an inspection found to be over: its exit event did not come in time.
    pub(super) fn exit_unreported(&mut self, id: &ContainerId, now: Now) {
        self.exit_known(id, None, now);
        self.settle(id, now);
    }

    /// Inspects a container whose mismatch lasted for the grace period.
    pub(super) fn inspect_drift(&mut self, id: &ContainerId, now: Now) {
        let Some(record) = self.records.get_mut(id) else { return };
        let Some(mismatch) = record.mismatch.take() else { return };
        let Mismatch { listed, explained } = *mismatch;
        if record.awaits_exit() {
            self.exit_known(id, None, now);
        }
        let differs = !self.has_ended(id) && !self.is_as_listed(id, listed.as_ref());
        if let Some(entry) = &listed {
            self.set_listed_name(id, entry);
        }
        let record = self.records.entry(id.clone()).or_default();
        record.is_drift |= differs && !explained;
        match record.inspection {
            Inspection::None if differs => self.request_inspection(id),
            Inspection::InFlight(_) => self.request_inspection(id),
            _ => {}
        }
        self.settle(id, now);
    }
}
