//! One run of a container.

use std::time::SystemTime;

use super::container::Container;
use super::container_id::ContainerId;

/// One run of a container. A restart is a new life of the same ID.
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
    /// The container whose run it is.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }
}

impl Container {
    /// Which run of the container this is: told apart by start time, or by PID where the engine tells none.
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
    fn a_life_is_reported_by_its_start_time_and_without_one_by_its_pid() {
        let now = SystemTime::now();
        let first = Container::new("x", "x", 1).with_started_at(now);
        assert_eq!(first.life(), first.clone().with_paused(true).life());
        assert_eq!(first.life(), Container::new("x", "renamed", 1).with_started_at(now).life());
        assert_ne!(first.life(), Container::new("x", "x", 1).life());
        assert_ne!(Container::new("x", "x", 1).life(), Container::new("x", "x", 2).life());
    }
}
