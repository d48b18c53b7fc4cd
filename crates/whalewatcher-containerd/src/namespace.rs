//! The ignored namespaces that have live tasks.

use std::sync::{Arc, Mutex, PoisonError};

/// The ignored namespaces that have live tasks, as of the newest list; empty if that contains any container.
/// Clones share their content.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeftOut(Arc<Mutex<Vec<String>>>);

impl LeftOut {
    pub(crate) fn set(&self, namespaces: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = namespaces;
    }

    pub(crate) fn get(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
