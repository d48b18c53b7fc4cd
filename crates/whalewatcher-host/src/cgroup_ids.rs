//! Which container a control group belongs to, by the group's ID.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use whalewatcher_core::{Container, ContainerId, Portfolio};

use crate::cgroup::{ids, names};
use crate::process::Proc;

/// Where version 2 is mounted; beside version 1 it is in a folder of that.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// How many control groups of one container are looked at.
const MAX_GROUPS: usize = 1_024;

/// Finds containers by the IDs of their control groups, as `bpf_get_current_cgroup_id` returns them.
///
/// Needs version 2 of control groups, mounted at `/sys/fs/cgroup` or `/sys/fs/cgroup/unified`. A container's groups are looked at once,
/// when it is first seen in a portfolio, and again if an ID is not known: its processes may have made more groups.
#[derive(Debug)]
pub struct CgroupIds {
    proc: Proc,
    mounts: Vec<PathBuf>,
    containers: HashMap<u64, ContainerId>,
    /// The groups that were looked at, with the PID that the container had then.
    seen: HashMap<ContainerId, u32>,
}

impl Default for CgroupIds {
    fn default() -> Self {
        Self::new()
    }
}

impl CgroupIds {
    /// Knows no container yet.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Proc::default(), MOUNTS.map(PathBuf::from).to_vec())
    }

    fn at(proc: Proc, mounts: Vec<PathBuf>) -> Self {
        Self { proc, mounts, containers: HashMap::new(), seen: HashMap::new() }
    }

    /// Returns the container of the portfolio that the control group with this ID belongs to.
    ///
    /// A known ID takes a look-up in memory. For an unknown one the groups of all containers are read, so an application that is asked for many
    /// groups of no container remembers those.
    pub fn owner<'a>(&mut self, id: u64, portfolio: &'a Portfolio) -> Option<&'a Arc<Container>> {
        if let Some(container) = self.known(id, portfolio) {
            return Some(container);
        }
        self.forget_ended(portfolio);
        for container in portfolio.containers() {
            self.look_at(container);
        }
        self.known(id, portfolio)
    }

    fn known<'a>(&self, id: u64, portfolio: &'a Portfolio) -> Option<&'a Arc<Container>> {
        let container = portfolio.by_id(self.containers.get(&id)?)?;
        // A group of another life may have had that ID.
        (self.seen.get(container.id()) == Some(&container.pid())).then_some(container)
    }

    fn forget_ended(&mut self, portfolio: &Portfolio) {
        let is_alive =
            |id: &ContainerId, pid: u32| portfolio.by_id(id).is_some_and(|known| known.pid() == pid);
        self.seen.retain(|id, pid| is_alive(id, *pid));
        let seen = &self.seen;
        self.containers.retain(|_, id| seen.contains_key(id));
    }

    fn look_at(&mut self, container: &Container) {
        let Some(group) = self.group(container) else { return };
        for mount in &self.mounts {
            let folder = mount.join(group.trim_start_matches('/'));
            let mut found = HashSet::new();
            look_below(&folder, &mut found);
            self.containers.extend(found.into_iter().map(|id| (id, container.id().clone())));
        }
        self.seen.insert(container.id().clone(), container.pid());
    }

    /// The path of the container's control group, by its initial process.
    fn group(&self, container: &Container) -> Option<String> {
        let groups = self.proc.open(container.pid()).and_then(|initial| initial.memberships()).ok()?;
        let id = container.id().rsplit('/').next()?;
        let path = &groups.iter().find(|group| group.hierarchy == 0)?.path;
        let mut of_it = names(path).filter(|(name, _)| ids(name).any(|part| part == id));
        of_it.next().map(|(_, upto)| upto.to_owned())
    }
}

/// Adds the IDs of a control group and of those in it.
fn look_below(folder: &Path, found: &mut HashSet<u64>) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop().filter(|_| found.len() < MAX_GROUPS) {
        let Ok(metadata) = fs::symlink_metadata(&folder) else { continue };
        found.insert(metadata.ino());
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::EventKind;

    use super::*;

    #[test]
    fn groups_of_a_container_and_below_it_are_found_and_those_of_former_lives_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (proc, mount) = (folder.path().join("proc"), folder.path().join("cgroup"));
        let process = |pid: u32, cgroup: &str| {
            fs::create_dir_all(proc.join(pid.to_string())).unwrap();
            fs::write(proc.join(pid.to_string()).join("cgroup"), cgroup).unwrap();
        };
        let group = |path: &str| {
            fs::create_dir_all(mount.join(path)).unwrap();
            fs::metadata(mount.join(path)).unwrap().ino()
        };
        let mut portfolio = Portfolio::default();
        let start = |portfolio: &mut Portfolio, pid| {
            portfolio.apply(&EventKind::Started(Container::new("default/web", "web", pid).into()));
        };
        let mut groups = CgroupIds::at(Proc::at(&proc), vec![mount.clone()]);
        let name = |found: Option<&Arc<Container>>| found.map(|container| container.name().to_owned());

        let (web, other) = (group("web.slice/web"), group("other"));
        process(10, "1:pids:/\n0::/web.slice/web/init.scope\n");
        assert_eq!(name(groups.owner(web, &portfolio)), None);
        start(&mut portfolio, 10);
        assert_eq!(name(groups.owner(web, &portfolio)), Some("web".into()));
        assert_eq!(name(groups.owner(other, &portfolio)), None);
        let below = group("web.slice/web/below/it");
        assert_eq!(name(groups.owner(below, &portfolio)), Some("web".into()));

        start(&mut portfolio, 11);
        process(11, "0::/web.slice/elsewhere\n");
        assert_eq!(
            name(groups.owner(web, &portfolio)),
            None,
            "the PID is not that of the life that was seen"
        );
        assert!(groups.containers.is_empty() && groups.seen.is_empty());
    }
}
