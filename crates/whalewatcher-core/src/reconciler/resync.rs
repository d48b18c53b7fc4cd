//! From the first list of a connection until the portfolio follows the engine.

use std::mem::take;

use super::deadlines::Now;
use super::lists::Named;
use super::{Phase, Reconciler};
use crate::engine::{ListingEntry, UnlistedScopes};
use crate::model::EventKind;

impl Reconciler {
    pub(super) fn synchronize(
        &mut self,
        entries: Vec<ListingEntry>,
        unlisted_scopes: &UnlistedScopes,
        named: &Named,
        now: Now,
    ) {
        let mut gone = self.unconfirmed.clone();
        gone.retain(|id| !unlisted_scopes.contains(id));
        for id in take(&mut self.survivors) {
            self.contradictions += u64::from(gone.remove(&id));
            self.unconfirmed.remove(&id);
        }
        for entry in entries {
            let id = entry.container().id().clone();
            gone.remove(&id);
            let confirmed = self.portfolio.by_id(&id).is_some() && !self.unconfirmed.contains(&id);
            if confirmed || self.is_inspected(&id) {
                continue;
            }
            match entry {
                // A container that an event named may have changed since the list was taken.
                ListingEntry::Whole(container) if container.pid() != 0 && !named.contains(&id) => {
                    self.adopt(&id, container, now.time, now);
                }
                entry => {
                    self.set_listed_name(&id, &entry);
                    self.request_inspection(&id);
                }
            }
        }
        for id in gone {
            if !self.is_inspected(&id) {
                self.exit_known(&id, None, now);
                self.forget(&id);
            }
        }
        let unsettled = self.records.iter().filter(|(_, record)| !record.inspection.is_settled());
        let unsettled = unsettled.map(|(id, _)| (id.clone(), false)).collect();
        self.phase = Phase::Confirming { unsettled, complete: unlisted_scopes.is_empty() };
        self.go_live_if_settled(now);
    }

    pub(super) fn go_live_if_settled(&mut self, now: Now) {
        if matches!(&self.phase, Phase::Confirming { unsettled, complete: true } if unsettled.is_empty()) {
            self.phase = Phase::Live;
            let (containers, unresolved) = (self.portfolio.total(), self.failures.total());
            self.publish(now.time, EventKind::Synced { containers, unresolved });
            self.release_capacity();
        }
    }
}
