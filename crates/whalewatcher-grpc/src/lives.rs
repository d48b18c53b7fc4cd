//! The lives that a client saw, from one connection to the next: when one ended meanwhile, the engine may still know how.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whalewatcher_core::ContainerId;

/// The containers that were alive when last seen, with their PIDs. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Lives(Arc<Mutex<HashMap<ContainerId, u32>>>);

impl Lives {
    /// Notes that the container is alive, as the process with this PID.
    pub fn add(&self, id: &ContainerId, pid: u32) {
        self.locked().insert(id.clone(), pid);
    }

    /// Notes that the container is not alive; returns the PID with which it was.
    pub fn end(&self, id: &ContainerId) -> Option<u32> {
        self.locked().remove(id)
    }

    /// Notes that the life with this PID is over; returns whether it was known.
    pub fn end_of(&self, id: &ContainerId, pid: u32) -> bool {
        let mut lives = self.locked();
        let is_known = lives.get(id) == Some(&pid);
        if is_known {
            lives.remove(id);
        }
        is_known
    }

    /// The lives of those that are not among these.
    #[must_use]
    pub fn missing(&self, alive: &HashSet<ContainerId>) -> Vec<(ContainerId, u32)> {
        let lives = self.locked();
        let missing = lives.iter().filter(|(id, _)| !alive.contains(*id));
        missing.map(|(id, pid)| (id.clone(), *pid)).collect()
    }

    /// Forgets those of which this does not hold.
    pub fn retain(&self, mut holds: impl FnMut(&ContainerId) -> bool) {
        self.locked().retain(|id, _| holds(id));
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<ContainerId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_known_until_its_own_end() {
        let lives = Lives::default();
        let id = |id: &str| ContainerId::from(id);
        for (name, pid) in [("a", 1), ("b", 2), ("a", 3)] {
            lives.clone().add(&id(name), pid);
        }
        assert!(!lives.end_of(&id("a"), 1), "that was the life before");
        assert_eq!(lives.missing(&HashSet::from([id("b")])), [(id("a"), 3)]);
        assert!(lives.end_of(&id("a"), 3) && !lives.end_of(&id("a"), 3));
        assert_eq!((lives.end(&id("b")), lives.end(&id("b"))), (Some(2), None));
        lives.add(&id("c"), 4);
        lives.retain(|_| false);
        assert!(lives.missing(&HashSet::new()).is_empty());
    }
}
