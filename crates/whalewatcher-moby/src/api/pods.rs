//! The names of podman's pods, which its lists contain. Inspections and events contain the IDs of pods only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whalewatcher_core::adapter::{EngineEvent, ListingEntry};
use whalewatcher_core::{Container, Labels};

use crate::decode::libpod::{PODMAN_POD_ID_LABEL, PODMAN_POD_NAME_LABEL};

/// How many names are kept.
const MOST: usize = 4096;

/// The names of pods by their IDs. A pod keeps its name.
#[derive(Debug, Default)]
pub(crate) struct Pods(Mutex<HashMap<Arc<str>, Arc<str>>>);

impl Pods {
    fn names(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all but the pods of these containers.
    pub(crate) fn replace(&self, entries: &[ListingEntry]) {
        self.names().clear();
        entries.iter().for_each(|entry| self.add(entry.container()));
    }

    /// Keeps the name of a listed container's pod.
    pub(crate) fn add(&self, container: &Container) {
        let label = |key| container.labels().get(key);
        if let (Some(id), Some(name)) = (label(PODMAN_POD_ID_LABEL), label(PODMAN_POD_NAME_LABEL)) {
            let mut names = self.names();
            if names.len() < MOST && !names.contains_key(id) {
                names.insert(id.into(), name.into());
            }
        }
    }

    /// Adds the name of its pod to a container. Returns whether that is known, or the container is in no pod.
    pub(crate) fn name(&self, container: Container) -> (Container, bool) {
        let label = |key| container.labels().get(key);
        let Some(id) = label(PODMAN_POD_ID_LABEL).filter(|_| label(PODMAN_POD_NAME_LABEL).is_none()) else {
            return (container, true);
        };
        let Some(name) = self.names().get(id).cloned() else { return (container, false) };
        let labels = container.labels().iter().map(|(key, value)| (key.into(), value.into()));
        let labels = Labels::from_iter(labels.chain([(Arc::from(PODMAN_POD_NAME_LABEL), name)]));
        (container.with_labels(labels), true)
    }

    /// Adds the name of its pod to the preview of a container.
    pub(crate) fn name_preview(&self, event: EngineEvent) -> EngineEvent {
        match event {
            EngineEvent::Started { id, at, pid, preview } => {
                let preview = preview.map(|preview| Box::new(self.name(*preview).0));
                EngineEvent::Started { id, at, pid, preview }
            }
            other => other,
        }
    }
}
