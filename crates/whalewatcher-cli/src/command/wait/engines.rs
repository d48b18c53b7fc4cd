//! What is known of the engines.

use std::sync::Arc;

use whalewatcher_core::fleet::FleetPortfolio;
use whalewatcher_core::{Container, Fleet, UnresolvedContainer, Watcher};
use whalewatcher_discover::{Discovery, Finding, FindingKind, FindingsFollower};

use super::target::{Key, Knowledge};
use crate::selection::{Pattern, Selection, is_named};
use crate::statuses::Statuses;

/// The engines, and what is known of them.
pub(super) struct Engines {
    fleet: Arc<Fleet>,
    selection: Selection,
    statuses: Statuses,
    /// `None` if the user named the engines.
    found: Option<Found>,
}

/// Engines that are found.
struct Found {
    /// Dropping it ends the search.
    _discovery: Discovery,
    follower: FindingsFollower,
    /// What was found and is not watched, once the search has settled.
    findings: Option<Arc<[Finding]>>,
}

impl Engines {
    pub(super) fn new(fleet: Arc<Fleet>, selection: Selection, discovery: Option<Discovery>) -> Self {
        let found = discovery.map(|discovery| {
            let follower = discovery.follow_findings();
            Found { _discovery: discovery, follower, findings: None }
        });
        Self { fleet, selection, statuses: Statuses::default(), found }
    }

    /// Follows the status of an engine too.
    pub(super) fn follow(&self, watcher: &dyn Watcher) {
        self.statuses.follow(watcher);
    }

    /// Resolves when a status or a finding has changed. Cancel safe.
    pub(super) async fn changed(&mut self) {
        let findings = async {
            match &mut self.found {
                Some(Found { follower, findings, .. }) => match follower.changed().await {
                    Some(found) => *findings = Some(found),
                    None => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.statuses.changed() => {}
            () = findings => {}
        }
    }

    /// Returns what is known, as far as it concerns a name. `alive` is the sum of the events that were read.
    pub(super) fn knowledge(&self, alive: &FleetPortfolio, name: &Pattern) -> Knowledge {
        let watchers = self.watchers();
        let is_settled = self.found.as_ref().is_none_or(|found| found.findings.is_some());
        let is_listed = is_settled
            && alive
                .members()
                .filter(|member| self.selection.concerns(&**member.watcher()))
                .all(|member| member.is_live() || member.error().is_some());
        let is_complete = is_settled
            && self.missing().is_none()
            && !watchers.is_empty()
            && watchers.iter().all(|watcher| self.excludes(&**watcher, name));
        Knowledge { is_listed, is_complete }
    }

    /// Returns an engine that may run and is not watched.
    pub(super) fn missing(&self) -> Option<&Finding> {
        let Found { findings, .. } = self.found.as_ref()?;
        findings
            .iter()
            .flat_map(|findings| findings.iter())
            .find(|finding| finding.kind != FindingKind::NotStarted)
    }

    /// Returns whether a lost container is alive again; `None` if that is unknown.
    pub(super) fn is_alive(&self, (engine, id): &Key) -> Option<bool> {
        let watcher = self.fleet.watcher(engine)?;
        let status = watcher.status();
        // The portfolio is at least as new as the status.
        let is_alive = watcher.portfolio().by_id(id.as_str()).is_some();
        let unresolved = status.unresolved.containers();
        let is_known = status.is_live()
            && status.unlisted.is_empty()
            && unresolved.len() == status.unresolved.total()
            && unresolved.iter().all(|container| container.id != *id);
        (is_alive || is_known).then_some(is_alive)
    }

    /// Returns whether it is certain that no container of this engine has this name.
    fn excludes(&self, watcher: &dyn Watcher, name: &Pattern) -> bool {
        let status = watcher.status();
        // The portfolio is at least as new as the status, so it contains whatever was unresolved before and
        // is not any more.
        let portfolio = watcher.portfolio();
        let unresolved = status.unresolved.containers();
        status.is_live()
            && status.unlisted.is_empty()
            && unresolved.len() == status.unresolved.total()
            && !unresolved.iter().any(|container| may_be_named(container, name))
            && !portfolio
                .containers()
                .any(|container| is_named(container, name) && self.selection.matches(watcher, container))
    }

    fn watchers(&self) -> Vec<Arc<dyn Watcher>> {
        let mut all = self.fleet.watchers();
        all.retain(|watcher| self.selection.concerns(&**watcher));
        all
    }
}

fn may_be_named(container: &UnresolvedContainer, name: &Pattern) -> bool {
    let known = container.name.as_deref().unwrap_or(container.id.as_str());
    container.name.is_none() || is_named(&Container::new(container.id.clone(), known, 1), name)
}
