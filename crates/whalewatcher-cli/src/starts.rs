//! When containers were started, also those whose engine does not report it.

use std::time::SystemTime;

use whalewatcher_core::{Container, Watcher};

use crate::clusters::host_of;

/// Returns when a container was started: as its engine reports it, else, by the clock of this host, when its
/// first process was, unless another host published it.
pub(crate) fn started_at(watcher: &dyn Watcher, container: &Container) -> Option<SystemTime> {
    let is_here = || host_of(watcher).is_none();
    container.started_at().or_else(|| is_here().then(|| process_started_at(container)).flatten())
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
