//! The lives that a client has seen, kept from one connection to the next, so that the exit of a life that
//! ended meanwhile can still be looked up. The memory that their names, labels and images take is limited.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use whalewatcher_core::{Container, ContainerId, EngineError, ErrorKind};

/// The bytes that a container takes in addition to its name and labels, and a label or a network in addition
/// to its text.
const CONTAINER: usize = 512;
const LABEL: usize = 64;

/// The containers that were alive when last seen, with their PIDs. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct Lives(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    lives: HashMap<ContainerId, Life>,
    /// The memory that they take together.
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    pid: u32,
    bytes: usize,
}

impl Known {
    fn remove(&mut self, id: &ContainerId) -> Option<u32> {
        let life = self.lives.remove(id)?;
        self.bytes = self.bytes.saturating_sub(life.bytes);
        Some(life.pid)
    }
}

impl Lives {
    /// Records that the container is alive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`] if the names, labels and images of all live containers would take more than
    /// `limit` bytes. An earlier record of the same container is kept, because the portfolio still contains
    /// it.
    pub fn add(&self, container: &Container, limit: usize) -> Result<(), EngineError> {
        let labels = container.labels().iter().map(|(key, value)| LABEL + key.len() + value.len());
        let image = container.image().map_or(0, |image| image.name().len() + image.id().map_or(0, str::len));
        let networks = container.networks().iter().map(|network| LABEL + network.name().len());
        let details = image + networks.sum::<usize>() + size_of_val(container.ports());
        let bytes = CONTAINER + container.name().len() + labels.sum::<usize>() + details;
        let mut known = self.locked();
        let before = known.lives.get(container.id()).map_or(0, |life| life.bytes);
        if known.bytes.saturating_sub(before).saturating_add(bytes) > limit {
            let message = format!(
                "the names, labels and images of the live containers take more than {limit} bytes; the client can be configured \
                 to use more memory"
            );
            return Err(EngineError::new(ErrorKind::Malformed, message));
        }
        known.remove(container.id());
        known.bytes += bytes;
        known.lives.insert(container.id().clone(), Life { pid: container.pid(), bytes });
        Ok(())
    }

    /// Records that the container is not alive; returns the PID that it had.
    pub fn end(&self, id: &ContainerId) -> Option<u32> {
        self.locked().remove(id)
    }

    /// Records that the life with this PID is over; returns whether it was recorded as alive.
    pub fn end_of(&self, id: &ContainerId, pid: u32) -> bool {
        let mut known = self.locked();
        let is_known = known.lives.get(id).is_some_and(|life| life.pid == pid);
        is_known && known.remove(id).is_some()
    }

    /// Returns the recorded lives of containers that are not in `alive`.
    #[must_use]
    pub fn missing(&self, alive: &HashSet<ContainerId>) -> Vec<(ContainerId, u32)> {
        let known = self.locked();
        let missing = known.lives.iter().filter(|(id, _)| !alive.contains(*id));
        missing.map(|(id, life)| (id.clone(), life.pid)).collect()
    }

    /// Removes the containers for which `holds` returns false.
    pub fn retain(&self, mut holds: impl FnMut(&ContainerId) -> bool) {
        let known = &mut *self.locked();
        known.lives.retain(|id, life| {
            let is_held = holds(id);
            if !is_held {
                known.bytes = known.bytes.saturating_sub(life.bytes);
            }
            is_held
        });
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::{Image, Network, Port, Protocol};

    use super::*;

    fn container(id: &str, pid: u32) -> Container {
        Container::new(id, id, pid)
    }

    fn id(id: &str) -> ContainerId {
        id.into()
    }

    #[test]
    fn a_life_is_recorded_until_its_own_end() {
        let lives = Lives::default();
        for (name, pid) in [("a", 1), ("b", 2), ("a", 3)] {
            lives.clone().add(&container(name, pid), usize::MAX).unwrap();
        }
        assert!(!lives.end_of(&id("a"), 1), "that was the previous life");
        assert_eq!(lives.missing(&HashSet::from([id("b")])), [(id("a"), 3)]);
        assert!(lives.end_of(&id("a"), 3) && !lives.end_of(&id("a"), 3));
        assert_eq!((lives.end(&id("b")), lives.end(&id("b"))), (Some(2), None));
        lives.add(&container("c", 4), usize::MAX).unwrap();
        lives.retain(|_| false);
        assert!(lives.missing(&HashSet::new()).is_empty());
        assert_eq!(lives.locked().bytes, 0);
    }

    #[test]
    fn their_memory_is_limited() {
        let (lives, limit) = (Lives::default(), 2 * (CONTAINER + 1));
        for name in ["a", "b", "a", "b"] {
            lives.add(&container(name, 1), limit).unwrap();
        }
        let error = lives.add(&container("c", 1), limit).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        assert!(error.to_string().contains("take more than 1026 bytes"), "{error}");
        lives.end(&id("a"));
        lives.add(&container("c", 1), limit).unwrap();
        let labelled = container("b", 1).with_labels([("key", "value")].into_iter().collect());
        assert!(lives.add(&labelled, limit).is_err());
        for large in [
            container("b", 1).with_image(Image::new("busybox")),
            container("b", 1).with_networks([Network::new("")]),
            container("b", 1).with_ports([Port::new(80, Protocol::Tcp)]),
        ] {
            assert!(lives.add(&large, limit).is_err(), "{large:?}");
        }
        assert!(lives.add(&container("d", 1), limit).is_err(), "the earlier record still counts");
    }
}
