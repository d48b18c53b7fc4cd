//! What becomes of a list that is compared with the portfolio.

use std::time::SystemTime;

use foldhash::HashMap;

use super::Reconciler;
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
                if let Some(record) = self.records.get_mut(&id) {
                    record.suspicion = None;
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
                    record.graces += 1;
                    *suspicion = Some(Suspicion { listed: entry, graces: record.graces, explained });
                    self.suspects.push(id);
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

    /// What events did not explain is asked about.
    pub(super) fn suspect(&mut self, id: &ContainerId, now: SystemTime) {
        let Some(record) = self.records.get_mut(id) else { return };
        record.graces = record.graces.saturating_sub(1);
        let gone = record.gone;
        let suspicion = record.suspicion.take_if(|suspicion| {
            suspicion.graces = suspicion.graces.saturating_sub(1);
            suspicion.graces == 0
        });
        if gone {
            self.exit_known(id, None, now);
        }
        if let Some(Suspicion { listed, explained, .. }) = suspicion {
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
        }
        self.settle(id, now);
    }
}
