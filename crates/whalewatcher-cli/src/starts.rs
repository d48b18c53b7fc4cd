//! When containers were started, also those whose engine does not report it.

use std::time::SystemTime;

use whalewatcher_core::Container;

/// Returns when a container was started: as its engine reports it, else, by the clock of this host, when its first process was.
pub(crate) fn started_at(container: &Container) -> Option<SystemTime> {
    container.started_at().or_else(|| process_started_at(container))
}

#[cfg(target_os = "linux")]
fn process_started_at(container: &Container) -> Option<SystemTime> {
    let age = whalewatcher_host::age_of(container).ok().flatten()?;
    SystemTime::now().checked_sub(age)
}

#[cfg(not(target_os = "linux"))]
fn process_started_at(_: &Container) -> Option<SystemTime> {
    None
}
