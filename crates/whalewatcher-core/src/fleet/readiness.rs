//! Which members of a fleet are ready.

use std::sync::Arc;

use crate::model::EngineKey;
use crate::watch::{Status, WatchError, Watcher};

/// The result of [`Fleet::ready`](crate::Fleet::ready).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Readiness {
    /// The members in sync with their engines, each with its status.
    pub ready: Vec<(Arc<dyn Watcher>, Status)>,
    /// The others, each with the reason.
    pub not_ready: Vec<(Arc<dyn Watcher>, NotReady)>,
}

impl Readiness {
    /// Returns whether all members are ready.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.not_ready.is_empty()
    }
}

/// Why a member of a fleet is not ready.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// Its watch has ended.
    #[error(transparent)]
    Ended(#[from] WatchError),
    /// It was not ready within the limit. Its watch continues.
    #[error("not ready yet: {0}")]
    Late(Box<Status>),
}

/// Why a watcher cannot join a fleet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The fleet watches an engine of that type at that endpoint already.
    #[error("{key} is being watched already")]
    AlreadyThere {
        /// Endpoint and type.
        key: EngineKey,
    },
}
