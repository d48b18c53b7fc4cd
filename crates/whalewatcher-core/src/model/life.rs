//! One run of a container.

use std::time::SystemTime;

use super::container::Container;
use super::container_id::ContainerId;

/// Identifies one run of a container. A restart is a new life of the same ID.
///
/// ```
/// use whalewatcher_core::Container;
///
/// let before = Container::new("c0ffee", "web", 4711);
/// assert_eq!(before.life(), before.clone().with_paused(true).life());
/// assert_ne!(before.life(), Container::new("c0ffee", "web", 4800).life());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    id: ContainerId,
    mark: LifeMark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum LifeMark {
    StartedAt(SystemTime),
    Pid(u32),
}

impl Life {
    /// Returns the ID of the container.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }
}

impl Container {
    /// Returns which run of the container this is. Lives are distinguished by their start time, or by their
    /// PID where the engine reports no start time.
    #[must_use]
    pub fn life(&self) -> Life {
        let mark = self.started_at().map_or(LifeMark::Pid(self.pid()), LifeMark::StartedAt);
        Life { id: self.id().clone(), mark }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_distinguished_by_start_time_or_else_by_pid() {
        let now = SystemTime::now();
        let first = Container::new("x", "x", 1).with_started_at(now);
        assert_eq!(first.life(), first.clone().with_paused(true).life());
        assert_eq!(first.life(), Container::new("x", "renamed", 1).with_started_at(now).life());
        assert_ne!(first.life(), Container::new("x", "x", 1).life());
        assert_ne!(Container::new("x", "x", 1).life(), Container::new("x", "x", 2).life());
    }
}
