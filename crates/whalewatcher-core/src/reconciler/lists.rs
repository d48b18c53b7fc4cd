//! When a list is requested: the one state of all lists, and what moves it.

use std::mem::take;

use foldhash::HashSet;

use super::deadlines::{Deadline, Now};
use super::{Effect, MAX_UNVERIFIED, Phase, Reconciler};
use crate::engine::{ListingEntry, UnlistedScopes};
use crate::model::{Container, ContainerId};

/// Where the next list stands.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) enum ListState {
    /// None is needed before the next audit.
    #[default]
    Idle,
    /// One is requested as soon as the phase allows it.
    Pending {
        /// Whether it is repeated if it fails; else the next audit is early enough.
        required: bool,
    },
    /// The last one failed or was not complete: one is requested when [`Deadline::Relist`] is due.
    Deferred,
    /// One is in flight.
    InFlight {
        /// Whether it is repeated if it fails.
        required: bool,
        /// Whether another one is required after it, for events may have been missed since it was requested.
        again: bool,
        /// The containers that events named since it was requested.
        named: Named,
    },
}

/// The containers that events named while a list was in flight, or all of them.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Named {
    containers: HashSet<ContainerId>,
    is_all: bool,
}

impl Named {
    /// Adds a container, or all.
    pub(super) fn insert(&mut self, id: &ContainerId, is_all: bool) {
        self.is_all |= is_all;
        if self.is_all {
            self.containers = HashSet::default();
        } else {
            self.containers.insert(id.clone());
        }
    }

    /// Whether an event named the container.
    pub(super) fn contains(&self, id: &ContainerId) -> bool {
        self.is_all || self.containers.contains(id)
    }

    /// How many containers it holds.
    pub(super) fn len(&self) -> usize {
        self.containers.len()
    }
}

impl Reconciler {
    /// Makes the first list of a connection due, and the first audit.
    pub(super) fn begin_lists(&mut self, now: Now) {
        self.lists = ListState::Pending { required: true };
        self.set_audit(now);
    }

    /// Forgets all lists.
    pub(super) fn reset_lists(&mut self) {
        self.lists = ListState::Idle;
        self.incomplete_lists = 0;
        self.has_forgotten = false;
    }

    /// Whether what a list may wrongly show as alive must stay known: one is in flight, or is being compared.
    pub(super) fn is_listing(&self) -> bool {
        matches!(self.phase, Phase::Listing) || matches!(self.lists, ListState::InFlight { .. })
    }

    /// Events may have been missed: the portfolio is to be compared with a list that is requested from now on.
    pub(super) fn require_list(&mut self) {
        match &mut self.lists {
            lists @ ListState::Idle => *lists = ListState::Pending { required: true },
            ListState::Pending { required } => *required = true,
            ListState::Deferred => {}
            ListState::InFlight { again, .. } => *again = true,
        }
    }

    /// The list to request now, if one is pending. Events that were forgotten require one once there is room for the
    /// containers that it shows.
    pub(super) fn poll_list(&mut self) -> Option<Effect> {
        if self.has_forgotten && self.unverified <= MAX_UNVERIFIED / 2 {
            self.has_forgotten = false;
            self.require_list();
        }
        let ListState::Pending { required } = self.lists else { return None };
        let effect = match &self.phase {
            Phase::Live => Effect::Audit,
            Phase::Listing | Phase::Confirming { complete: false, .. } => {
                self.phase = Phase::Listing;
                Effect::List
            }
            Phase::Disconnected | Phase::Confirming { complete: true, .. } => return None,
        };
        self.lists = ListState::InFlight { required, again: false, named: Named::default() };
        Some(effect)
    }

    /// Takes in a list.
    pub(super) fn listed(
        &mut self,
        mut entries: Vec<ListingEntry>,
        unlisted_scopes: &UnlistedScopes,
        now: Now,
    ) {
        let ListState::InFlight { again, named, .. } = take(&mut self.lists) else { return };
        entries.retain(|entry| !self.has_ended(entry.container().id()));
        let is_known = |life: &Container| self.portfolio.by_id(life.id()).is_some();
        let is_doubted = |life: &Container| !is_known(life) && self.is_over_by_witness(life);
        let doubted: Vec<_> = entries.extract_if(.., |entry| is_doubted(entry.container())).collect();
        doubted.into_iter().for_each(|entry| self.doubt(entry.container().clone()));
        match &self.phase {
            Phase::Listing => self.synchronize(entries, unlisted_scopes, &named, now),
            Phase::Live => self.audit(entries, unlisted_scopes, &named, now),
            Phase::Disconnected | Phase::Confirming { .. } => {}
        }
        if unlisted_scopes.is_empty() {
            self.incomplete_lists = 0;
            if again {
                self.require_list();
            }
        } else {
            self.defer_list(now);
        }
        self.bound_memory();
    }

    /// Takes in that the list of an audit failed.
    pub(super) fn list_failed(&mut self, now: Now) {
        if let ListState::InFlight { required, again, .. } = take(&mut self.lists)
            && (required || again)
        {
            self.defer_list(now);
        }
    }

    /// Requests another list after a growing delay.
    fn defer_list(&mut self, now: Now) {
        self.incomplete_lists = self.incomplete_lists.saturating_add(1);
        let delay = self.settings.backoff().nth_delay(self.incomplete_lists);
        self.deadlines.set(Deadline::Relist, now.instant + delay);
        self.lists = ListState::Deferred;
    }

    /// Requests the list that was deferred.
    pub(super) fn relist(&mut self) {
        self.lists = ListState::Pending { required: true };
    }

    /// Compares the portfolio with a list, unless one is coming anyway, and sets the next audit.
    pub(super) fn begin_audit(&mut self, now: Now) {
        self.set_audit(now);
        if !self.is_live() {
            return;
        }
        match &self.lists {
            ListState::Idle => self.lists = ListState::Pending { required: false },
            ListState::Deferred => {
                self.deadlines.cancel(Deadline::Relist);
                self.relist();
            }
            ListState::Pending { .. } | ListState::InFlight { .. } => {}
        }
    }

    fn set_audit(&mut self, now: Now) {
        if let Some(delay) = self.settings.next_audit() {
            self.deadlines.set(Deadline::Audit, now.instant + delay);
        }
    }
}
