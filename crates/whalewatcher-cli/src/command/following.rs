//! What the commands that follow changes have in common: how they begin, and what they make of engines that
//! cannot be watched.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::anyhow;
use whalewatcher_core::fleet::FleetEvent;
use whalewatcher_core::{EngineKey, EventKind, Fleet, Phase};
use whalewatcher_discover::{Discovery, discover};
use whalewatcher_etcd::Hub;

use crate::advice::explain;
use crate::clusters::spawn_cluster_notes;
use crate::hosts::{Hosts, join};
use crate::selection::Selection;
use crate::warnings::{Warned, spawn_findings, spawn_warnings};

/// Engines that are followed from the start.
pub(super) struct Following {
    /// How many engines the user named; `None` if engines are found, or published by other hosts.
    pub(super) named: Option<usize>,
    /// Where engines go that are to be warned about.
    pub(super) warnings: Warned,
    pub(super) discovery: Option<Discovery>,
    /// What other hosts publish is followed for as long as these are there.
    pub(super) hubs: Vec<Hub>,
}

/// Begins to watch the engines that may be selected. Nothing happens before the next `await`, so a
/// subscription until then misses nothing.
///
/// # Errors
///
/// If none of them is selected: wrong usage.
pub(super) fn follow(fleet: &Arc<Fleet>, hosts: Hosts, selection: &Selection) -> anyhow::Result<Following> {
    let warnings = spawn_warnings()?;
    let mut hubs = Vec::new();
    let (named, found) = match selection.restrict(hosts)? {
        Hosts::Named(clients, clusters, settings) => {
            for cluster in clusters {
                let hub = cluster.join(fleet, &settings);
                spawn_cluster_notes(cluster.url(), &hub)?;
                hubs.push(hub);
            }
            (join(fleet, clients, &settings)?, None)
        }
        Hosts::Found(found) => (Vec::new(), Some(found.into_options())),
    };
    let count = (found.is_none() && hubs.is_empty()).then_some(named.len());
    named.into_iter().for_each(|watcher| warnings.warn_of(watcher));
    let discovery = found.map(|options| discover(fleet, options));
    if let Some(discovery) = &discovery {
        spawn_findings(discovery.follow_findings(), Arc::downgrade(fleet), selection.names_engines())?;
    }
    Ok(Following { named: count, warnings, discovery, hubs })
}

/// Which engines cannot be watched.
pub(super) struct Outages {
    named: Option<usize>,
    engines: HashMap<EngineKey, Attempts>,
}

#[derive(Default)]
struct Attempts {
    /// One has succeeded or failed.
    has_been: bool,
    /// Retrying is not expected to help, or the watch has ended.
    failed: bool,
}

/// Why an engine cannot be watched.
pub(super) enum Outage {
    /// Retrying may help.
    Waiting(String),
    /// Retrying is not expected to help.
    GoingOn(String),
}

impl Outages {
    /// Creates a record for as many engines as the user named; `None` if engines are found.
    pub(super) fn new(named: Option<usize>) -> Self {
        Self { named, engines: HashMap::new() }
    }

    /// Returns the outage that an event reports. To be called with each event.
    ///
    /// # Errors
    ///
    /// With the reason, if that leaves no engine.
    pub(super) fn handle(&mut self, change: &FleetEvent) -> anyhow::Result<Option<Outage>> {
        let FleetEvent { key, watcher, event, .. } = change;
        let attempts = self.engines.entry(key.clone()).or_default();
        let is_first =
            !matches!(event.kind, EventKind::Joined) && !std::mem::replace(&mut attempts.has_been, true);
        let error = match &event.kind {
            EventKind::Disconnected { error } => error,
            EventKind::Synced { .. } => {
                attempts.failed = false;
                return Ok(None);
            }
            EventKind::Left => {
                // The engine may join again.
                self.engines.remove(key);
                return Ok(None);
            }
            _ => return Ok(None),
        };
        let has_ended = matches!(
            watcher.status().phase,
            Phase::Failed { .. }
                | Phase::Refused { .. }
                | Phase::Panicked { .. }
                | Phase::Cancelled
                | Phase::Closed
        );
        let reason = explain(&**watcher, error);
        if !(has_ended || is_first && !error.is_transient()) {
            return Ok(Some(Outage::Waiting(format!("waiting for the engine: {reason}"))));
        }
        attempts.failed = true;
        let failed = self.engines.values().filter(|attempts| attempts.failed).count();
        if self.named == Some(failed) {
            return Err(anyhow!(reason));
        }
        Ok(Some(Outage::GoingOn(format!("going on without this engine: {reason}"))))
    }
}
