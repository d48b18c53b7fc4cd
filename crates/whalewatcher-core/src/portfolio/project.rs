//! The containers of one project.

use std::fmt;
use std::sync::Arc;

use super::members::Members;
use crate::model::Container;

/// The live containers of one compose project or Swarm stack; those without a project are in the one named `""`.
#[derive(Clone)]
pub struct Project {
    pub(super) name: Arc<str>,
    pub(super) containers: Members,
}

impl Project {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), containers: Members::default() }
    }

    /// Returns the project's name, `""` for the containers without a project.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the project's container with this ID or, if there is none, with this name.
    #[must_use]
    pub fn container(&self, id_or_name: &str) -> Option<&Arc<Container>> {
        let by_id = self.containers().find(|container| &**container.id() == id_or_name);
        by_id.or_else(|| self.containers().find(|container| container.name() == id_or_name))
    }

    /// Returns the project's containers, sorted by name and ID.
    pub fn containers(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.containers.iter()
    }

    /// Returns how many of the project's containers are alive.
    #[must_use]
    pub fn total(&self) -> usize {
        self.containers.total()
    }

    /// Returns whether none of its containers is alive, which only the unnamed project can be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Project")
            .field("name", &self.name)
            .field("containers", &self.containers().collect::<Vec<_>>())
            .finish()
    }
}
