//! The containers whose newest inspection failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{ContainerId, EngineError, Unresolved, UnresolvedContainer};

/// The containers whose newest inspection failed, and a summary of them for the status.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Failures {
    containers: BTreeMap<ContainerId, Failure>,
    summary: Unresolved,
    /// Whether the summary is older than the last change.
    outdated: bool,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Failure {
    /// How many inspections in a row failed.
    times: u32,
    name: Option<String>,
    error: Arc<EngineError>,
}

impl Failures {
    /// Records a failed inspection, and returns how many in a row failed.
    pub(super) fn record(&mut self, id: &ContainerId, name: Option<String>, error: Arc<EngineError>) -> u32 {
        self.outdated = true;
        let times = self.times(id).saturating_add(1);
        self.containers.insert(id.clone(), Failure { times, name, error });
        times
    }

    pub(super) fn remove(&mut self, id: &ContainerId) {
        self.outdated |= self.containers.remove(id).is_some();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many inspections of the container in a row failed.
    pub(super) fn times(&self, id: &ContainerId) -> u32 {
        self.containers.get(id).map_or(0, |failure| failure.times)
    }

    pub(super) fn total(&self) -> usize {
        self.containers.len()
    }

    pub(super) fn summary(&mut self) -> &Unresolved {
        if std::mem::take(&mut self.outdated) {
            let containers = self.containers.iter().map(|(id, failure)| UnresolvedContainer {
                id: id.clone(),
                name: failure.name.clone(),
                error: failure.error.clone(),
            });
            self.summary = Unresolved::new(self.containers.len(), containers);
        }
        &self.summary
    }
}
