//! What was told to be over, remembered from one connection to the next.
//!
//! Hints are ahead of what the runtime says: containerd tells that a task ended before its CRI plugin notes that. Whoever
//! connects anew just then is told that it runs, and that it ended is not told again.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whalewatcher_core::ContainerId;

/// How many are remembered.
const ENDED: usize = 4096;

/// Those that were told to be over. A life that begins under an ID is the only one ever of that ID, so they never come
/// back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endings(Arc<Mutex<Ended>>);

#[derive(Debug, Default)]
struct Ended {
    ids: HashSet<ContainerId>,
    /// The same, the oldest first.
    order: VecDeque<ContainerId>,
}

impl Endings {
    /// It was told to be over.
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
    fn what_is_over_is_remembered_up_to_a_bound_the_newest_first() {
        let id = |nth: usize| ContainerId::from(nth.to_string());
        let endings = Endings::default();
        for _ in 0..2 {
            endings.add(&id(0));
        }
        for nth in 1..ENDED {
            endings.add(&id(nth));
        }
        assert!(endings.contain(&id(0)));
        endings.add(&id(ENDED));
        assert!(!endings.contain(&id(0)) && endings.contain(&id(1)));
        let ended = endings.locked();
        assert_eq!((ended.ids.len(), ended.order.len()), (ENDED, ENDED));
    }
}
