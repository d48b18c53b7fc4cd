//! For how long a container has run, as its initial process shows it.

use std::io;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use whalewatcher_core::Container;

use crate::cgroup::{ids, names};
use crate::process::Proc;

/// Returns for how long the initial process of a container has run; `None` if there is no such process, or if
/// its control group does not show that it is the container's.
///
/// That is for containers of engines that report no [start](Container::started_at), such as containerd. The
/// process may be somewhat older than the life: containerd creates it before it starts the task. No clock
/// that can be set is involved.
///
/// # Errors
///
/// If the process cannot be read, such as [`PermissionDenied`](io::ErrorKind::PermissionDenied) where `/proc`
/// is mounted with `hidepid`.
pub fn age_of(container: &Container) -> io::Result<Option<Duration>> {
    let now = clock_gettime(ClockId::Boottime);
    let now = Duration::try_from(now).map_err(io::Error::other)?;
    match age_at(&Proc::default(), container, now) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        age => age,
    }
}

/// Returns the same for a time since the system was started.
fn age_at(proc: &Proc, container: &Container, now: Duration) -> io::Result<Option<Duration>> {
    let id = container.id().as_str();
    let id = id.rsplit_once('/').map_or(id, |(_, id)| id);
    let process = proc.open(container.host_pid().unwrap_or(container.pid()))?;
    let groups = process.memberships()?;
    let mut of_groups = groups.iter().flat_map(|group| names(&group.path));
    if !of_groups.any(|(name, _)| ids(name).any(|named| named == id)) {
        return Ok(None);
    }
    let started = Duration::from_secs_f64(process.origin()?.started as f64 / clock_ticks_per_second() as f64);
    Ok(Some(now.saturating_sub(started)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_process_has_an_age_if_its_group_is_that_of_the_container() {
        let folder = tempfile::tempdir().unwrap();
        let started = 30 * clock_ticks_per_second();
        for (pid, group, state) in
            [(7, "/default/web", "S"), (8, "/user.slice", "S"), (9, "/default/web", "Z")]
        {
            let process = folder.path().join(pid.to_string());
            fs::create_dir(&process).unwrap();
            fs::write(process.join("cgroup"), format!("0::{group}\n")).unwrap();
            let stat = format!("{pid} (a b) {state} 1 {}{started} 0\n", "0 ".repeat(17));
            fs::write(process.join("stat"), stat).unwrap();
        }
        let proc = Proc::at(folder.path());
        let age = |pid| age_at(&proc, &Container::new("default/web", "web", pid), Duration::from_secs(100));
        assert_eq!(age(7).unwrap(), Some(Duration::from_secs(70)));
        assert_eq!(age(8).unwrap(), None);
        for gone in [9, 10] {
            assert_eq!(age(gone).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        assert_eq!(age_of(&Container::new("default/web", "web", std::process::id())).unwrap(), None);
    }
}
