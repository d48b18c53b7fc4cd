//! The containers of one project.

use std::fmt;
use std::sync::Arc;

use super::members::Members;
use crate::model::Container;

/// The containers of one compose project, or, as the project named `""`, those without one.
#[derive(Clone)]
pub struct Project {
    pub(super) name: Arc<str>,
    pub(super) containers: Members,
}

impl Project {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), containers: Members::default() }
    }

    /// The project's name, `""` for the containers that belong to none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The project's container that has this ID or else this name.
    #[must_use]
    pub fn container(&self, id_or_name: &str) -> Option<&Arc<Container>> {
        let by_id = self.containers().find(|container| &**container.id() == id_or_name);
        by_id.or_else(|| self.containers().find(|container| container.name() == id_or_name))
    }

    /// The project's containers, by name and ID.
    pub fn containers(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.containers.iter()
    }

    /// How many of the project's containers are alive.
    #[must_use]
    pub fn total(&self) -> usize {
        self.containers.total()
    }

    /// Whether none of its containers is alive; only ever true of the unnamed project.
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
