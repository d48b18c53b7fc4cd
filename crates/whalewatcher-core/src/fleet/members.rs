//! The members that come from one source, such as a discovery.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Fleet;
use crate::model::EngineKey;
use crate::watch::Watcher;

/// The members of a fleet that one source adds and removes, such as a discovery. Those of others are left
/// alone, and the fleet is not kept alive.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # use whalewatcher_core::scripted::Engine;
/// use std::sync::Arc;
/// use whalewatcher_core::fleet::Members;
/// use whalewatcher_core::{EngineWatcher, Fleet};
///
/// let fleet = Arc::new(Fleet::new());
/// let members = Members::of(&fleet);
/// members.add(Arc::new(EngineWatcher::new(Engine::new())));
/// assert_eq!(fleet.watchers().len(), 1);
/// members.close();
/// assert!(fleet.watchers().is_empty());
/// # }
/// ```
pub struct Members {
    fleet: Weak<Fleet>,
    /// `None` once closed.
    keys: Mutex<Option<BTreeSet<EngineKey>>>,
}

impl Members {
    /// Creates a source without members.
    #[must_use]
    pub fn of(fleet: &Arc<Fleet>) -> Self {
        Self { fleet: Arc::downgrade(fleet), keys: Mutex::new(Some(BTreeSet::new())) }
    }

    /// Adds a watcher, unless the fleet watches that engine already. Must be called within a tokio runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn add(&self, watcher: Arc<dyn Watcher>) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(fleet), Some(keys)) = (self.fleet.upgrade(), keys.as_mut())
            && let Ok(added) = fleet.add(watcher)
        {
            keys.insert(added.key());
        }
    }

    /// Removes a watcher that this source has added.
    pub fn remove(&self, key: &EngineKey) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(fleet), Some(keys)) = (self.fleet.upgrade(), keys.as_mut())
            && keys.remove(key)
        {
            fleet.remove(key);
        }
    }

    /// Returns the fleet; `None` once it has been dropped.
    #[must_use]
    pub fn fleet(&self) -> Option<Arc<Fleet>> {
        self.fleet.upgrade()
    }

    /// Removes all watchers that this source has added. It adds none from then on.
    pub fn close(&self) {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(fleet), Some(keys)) = (self.fleet.upgrade(), keys) {
            for key in keys {
                fleet.remove(&key);
            }
        }
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}
