//! Whether everything is in sync, and what is awaited.

use futures_util::FutureExt;
use serde::Serialize;
use whalewatcher_core::{Phase, Watcher};

use super::hosts;
use super::routes::Served;
use crate::advice::{explain, location};

/// An engine that is not in sync, or an etcd that is not read, and the reason.
#[derive(Debug, Serialize)]
pub(super) struct Waiting {
    /// Empty as long as engines are being looked for.
    pub(super) engine: String,
    pub(super) reason: String,
}

impl Served {
    /// Returns what is awaited: nothing if each engine is live, those of this host have been looked for, and
    /// those of other hosts are known.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        let waiting = self.fleet.watchers().into_iter().filter_map(|watcher| {
            let phase = watcher.status().phase;
            let reason = match phase {
                Phase::Live { .. } => return None,
                _ => problem(&*watcher, &phase).unwrap_or_else(|| "not in sync yet".to_owned()),
            };
            Some(Waiting { engine: location(&*watcher), reason })
        });
        let mut waiting: Vec<_> = waiting.collect();
        if self.discovery.as_ref().is_some_and(|discovery| discovery.settled().now_or_never().is_none()) {
            waiting
                .push(Waiting { engine: String::new(), reason: "engines are being looked for".to_owned() });
        }
        let clusters = self.hubs.iter().filter_map(|hub| Some((hub.cluster(), hosts::problem(hub)?)));
        waiting.extend(clusters.map(|(cluster, reason)| Waiting { engine: cluster.to_owned(), reason }));
        waiting
    }
}

/// Returns why an engine cannot be watched, if that is known.
pub(super) fn problem(watcher: &dyn Watcher, phase: &Phase) -> Option<String> {
    match phase {
        Phase::Disconnected { error } | Phase::Failed { error } => Some(explain(watcher, error)),
        _ => None,
    }
}
