//! The IDs of containers that are over, kept from one connection to the next.
//!
//! containerd's own events are ahead of its CRI plugin. After a reconnect, a status may still report a container as running
//! whose exit was reported before, and no event reports that exit again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whalewatcher_core::ContainerId;

/// The number of tombstones that are kept.
const ENDED: usize = 4096;

/// The containers whose exit was reported. CRI never uses an ID again, so they never come back. Clones share their content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tombstones(Arc<Mutex<Ended>>);

#[derive(Debug, Default)]
struct Ended {
    ids: HashSet<ContainerId>,
    /// The same IDs, the oldest first.
    order: VecDeque<ContainerId>,
}

impl Tombstones {
    /// Adds a container whose exit was reported.
    pub(crate) fn add(&self, id: &ContainerId) {
        let mut ended = self.locked();
        if ended.ids.insert(id.clone()) {
            ended.order.push_back(id.clone());
        }
        if ended.order.len() > ENDED
            && let Some(oldest) = ended.order.pop_front()
        {
            ended.ids.remove(&oldest);
        }
    }

    pub(crate) fn contain(&self, id: &ContainerId) -> bool {
        self.locked().ids.contains(id)
    }

    fn locked(&self) -> MutexGuard<'_, Ended> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_dropped_at_the_limit() {
        let id = |nth: usize| ContainerId::from(nth.to_string());
        let tombstones = Tombstones::default();
        for _ in 0..2 {
            tombstones.add(&id(0));
        }
        for nth in 1..ENDED {
            tombstones.add(&id(nth));
        }
        assert!(tombstones.contain(&id(0)));
        tombstones.add(&id(ENDED));
        assert!(!tombstones.contain(&id(0)) && tombstones.contain(&id(1)));
        let ended = tombstones.locked();
        assert_eq!((ended.ids.len(), ended.order.len()), (ENDED, ENDED));
    }
}
