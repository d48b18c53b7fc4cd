//! What becomes of a list that is compared with the portfolio.

use foldhash::HashMap;

use super::Reconciler;
use super::deadlines::{Deadline, GRACE, Now};
use super::record::{Inquiry, Suspicion, Touched};
use crate::engine::{ListingEntry, UnlistedScopes};
use crate::model::ContainerId;

impl Reconciler {
    /// The list may be ahead of the event stream or behind it, so what differs becomes a suspect first, to be explained
    /// by events. So does what is being inspected: the answer may be older than the list, and a later event lost.
    ///
    /// A difference is explained already, and so no divergence, if an event came since the list was asked for, or if what
    /// an event led to is still under way.
    pub(super) fn audit(
        &mut self,
        entries: Vec<ListingEntry>,
        unlisted_scopes: &UnlistedScopes,
        touched: &Touched,
        now: Now,
    ) {
        let mut suspects: Vec<_> = self.portfolio.ids().cloned().collect();
        let mut listed = HashMap::default();
        for entry in entries {
            let id = entry.container().id().clone();
            if self.portfolio.by_id(&id).is_none() {
                suspects.push(id.clone());
            }
            listed.insert(id, entry);
        }
        let asked = self.records.iter().filter(|(_, record)| matches!(record.inquiry, Inquiry::Asked(_)));
        let unknown = |id: &&ContainerId| self.portfolio.by_id(id).is_none() && !listed.contains_key(*id);
        suspects.extend(asked.map(|(id, _)| id).filter(unknown).cloned());
        for id in suspects.into_iter().filter(|id| !unlisted_scopes.contains(id)) {
            let entry = listed.remove(&id);
            let innocent = self.is_as_listed(&id, entry.as_ref());
            if innocent && !matches!(self.inquiry(&id), Inquiry::Asked(_)) {
                if self.records.get_mut(&id).is_some_and(|record| record.suspicion.take().is_some()) {
                    self.deadlines.cancel(Deadline::Drift(id.clone()));
                    self.forget(&id);
                }
                continue;
            }
            let record = self.records.entry(id.clone()).or_default();
            let explained = touched.contains(&id) || record.inquiry != Inquiry::None;
            match &mut record.suspicion {
                // One that still differs is not given more time.
                Some(suspicion) => {
                    suspicion.listed = entry;
                    suspicion.explained |= explained;
                }
                suspicion @ None => {
                    *suspicion = Some(Suspicion { listed: entry, explained });
                    self.deadlines.set(Deadline::Drift(id), now.instant + GRACE);
                }
            }
        }
    }

    fn is_as_listed(&self, id: &ContainerId, entry: Option<&ListingEntry>) -> bool {
        match (self.portfolio.by_id(id), entry) {
            (Some(known), Some(entry)) => entry.shows(known),
            (None, None) => true,
            _ => false,
        }
    }

    /// Publishes the exit of a life that an inspection found to be over, for its exit event has not come.
    pub(super) fn exit_unreported(&mut self, id: &ContainerId, now: Now) {
        self.exit_known(id, None, now);
        self.settle(id, now);
    }

    /// Inspects a container that an audit's list showed differently, unless events have explained that.
    pub(super) fn inspect_drift(&mut self, id: &ContainerId, now: Now) {
        let Some(record) = self.records.get_mut(id) else { return };
        let Some(Suspicion { listed, explained }) = record.suspicion.take() else { return };
        if record.gone {
            self.exit_known(id, None, now);
        }
        let differs = !self.is_as_listed(id, listed.as_ref());
        if let Some(entry) = &listed {
            self.note_name(id, entry);
        }
        let record = self.records.entry(id.clone()).or_default();
        record.suspected |= differs && !explained;
        match record.inquiry {
            Inquiry::None if differs => self.want(id),
            Inquiry::Asked(_) => self.want(id),
            _ => {}
        }
        self.settle(id, now);
    }
}
