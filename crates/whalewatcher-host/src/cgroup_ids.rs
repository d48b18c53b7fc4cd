//! Which container a control group belongs to, by the group's ID.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FsWord, statfs};
use whalewatcher_core::{Container, ContainerId, Portfolio};

use crate::cgroup::{Membership, ids, names};
use crate::process::Proc;

/// Where version 2 is mounted: alone, or beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The type of the file system of version 2, from the kernel's `magic.h`.
const CGROUP2_SUPER_MAGIC: FsWord = 0x6367_7270;

/// How many control groups of one container are read at most.
const MAX_GROUPS: usize = 1_024;

/// Finds containers by the IDs of their control groups, as `bpf_get_current_cgroup_id` returns them.
///
/// Needs version 2 of control groups, mounted at `/sys/fs/cgroup` or `/sys/fs/cgroup/unified`; without it no
/// group is found. The groups of a container, up to 1,024, are read when the container is first seen.
///
/// ```no_run
/// # fn example(watcher: &dyn whalewatcher_core::Watcher, id: u64) {
/// let mut groups = whalewatcher_host::CgroupIds::new();
/// if let Some(container) = groups.owner(id, &watcher.portfolio()) {
///     println!("{container}");
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct CgroupIds {
    proc: Proc,
    mount: Option<PathBuf>,
    groups: HashMap<u64, Group>,
    /// The PIDs that the containers had when their groups were read.
    seen: HashMap<ContainerId, u32>,
    /// The revision of the portfolio that was read last.
    revision: Option<u64>,
}

/// A control group of a container.
#[derive(Debug)]
struct Group {
    container: ContainerId,
    /// The length of the path of the container's own group: the groups of a nested container are within those
    /// of the outer one.
    depth: usize,
}

impl Default for CgroupIds {
    fn default() -> Self {
        Self::new()
    }
}

impl CgroupIds {
    /// Returns an index that knows no container yet.
    #[must_use]
    pub fn new() -> Self {
        let mut mounts = MOUNTS
            .into_iter()
            .filter(|mount| statfs(*mount).is_ok_and(|found| found.f_type == CGROUP2_SUPER_MAGIC));
        Self::at(Proc::default(), mounts.next().map(PathBuf::from))
    }

    fn at(proc: Proc, mount: Option<PathBuf>) -> Self {
        Self { proc, mount, groups: HashMap::new(), seen: HashMap::new(), revision: None }
    }

    /// Returns the container of the portfolio that the control group with this ID belongs to; of nested
    /// containers, the innermost one.
    ///
    /// A known ID takes a look-up in memory. For any other one, the groups of containers that are new in the
    /// portfolio are read first. Groups that a container creates after that are not found until
    /// [`refresh`](Self::refresh) is called.
    ///
    /// An index is for the snapshots of one watcher.
    pub fn owner<'a>(&mut self, id: u64, portfolio: &'a Portfolio) -> Option<&'a Arc<Container>> {
        if let Some(container) = self.known(id, portfolio) {
            return Some(container);
        }
        if self.revision != Some(portfolio.revision()) {
            self.read(portfolio);
        }
        self.known(id, portfolio)
    }

    /// Reads the groups of all containers again.
    pub fn refresh(&mut self, portfolio: &Portfolio) {
        self.groups.clear();
        self.seen.clear();
        self.read(portfolio);
    }

    fn known<'a>(&self, id: u64, portfolio: &'a Portfolio) -> Option<&'a Arc<Container>> {
        let container = portfolio.by_id(&self.groups.get(&id)?.container)?;
        // It may be another life of the container, with other groups.
        (self.seen.get(container.id()) == Some(&container.pid())).then_some(container)
    }

    /// Reads the groups of containers that were not seen yet, and removes those of lives that have ended.
    fn read(&mut self, portfolio: &Portfolio) {
        self.seen.retain(|id, pid| portfolio.by_id(id).is_some_and(|known| known.pid() == *pid));
        let Self { groups, seen, .. } = self;
        groups.retain(|_, group| seen.contains_key(&group.container));
        let new: Vec<_> =
            portfolio.containers().filter(|container| !self.seen.contains_key(container.id())).collect();
        for container in new {
            self.read_container(container);
        }
        self.revision = Some(portfolio.revision());
    }

    /// Reads the groups of a container, unless it has just ended.
    fn read_container(&mut self, container: &Container) {
        let Some(mount) = &self.mount else { return };
        let Ok(memberships) = self.proc.open(container.pid()).and_then(|initial| initial.memberships())
        else {
            return;
        };
        self.seen.insert(container.id().clone(), container.pid());
        let Some(path) = own_group(container.id(), &memberships) else { return };
        for id in ids_below(&mount.join(path.trim_start_matches('/'))) {
            if self.groups.get(&id).is_none_or(|known| known.depth < path.len()) {
                self.groups.insert(id, Group { container: container.id().clone(), depth: path.len() });
            }
        }
    }
}

/// Returns the path of the version 2 group that is named by a container's ID, as its initial process shows it.
fn own_group<'a>(id: &str, initial: &'a [Membership]) -> Option<&'a str> {
    let path = &initial.iter().find(|group| group.hierarchy == 0)?.path;
    // A group outside of this control group namespace is not below the mount.
    if names(path).any(|(name, _)| name == "..") {
        return None;
    }
    let unscoped = id.rsplit('/').next()?;
    names(path).find(|(name, _)| ids(name).any(|part| part == unscoped)).map(|(_, upto)| upto)
}

/// Returns the IDs of a control group and of those in it.
fn ids_below(folder: &Path) -> Vec<u64> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop().filter(|_| found.len() < MAX_GROUPS) {
        let Ok(metadata) = fs::symlink_metadata(&folder) else { continue };
        found.push(metadata.ino());
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(groups.map(|entry| entry.path()));
    }
    found
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use whalewatcher_core::EventKind;

    use super::*;

    /// A made-up host: `/proc`, control groups and a portfolio.
    struct Host {
        folder: TempDir,
        portfolio: Portfolio,
        groups: CgroupIds,
    }

    impl Host {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let groups =
                CgroupIds::at(Proc::at(folder.path().join("proc")), Some(folder.path().join("cgroup")));
            Self { folder, portfolio: Portfolio::default(), groups }
        }

        fn start(&mut self, id: &str, pid: u32, group: &str) {
            let process = self.folder.path().join("proc").join(pid.to_string());
            fs::create_dir_all(&process).unwrap();
            fs::write(process.join("cgroup"), format!("1:pids:/\n0::{group}\n")).unwrap();
            self.portfolio.apply(&EventKind::Started(Container::new(id, id, pid).into()));
        }

        fn group(&self, path: &str) -> u64 {
            let folder = self.folder.path().join("cgroup").join(path);
            fs::create_dir_all(&folder).unwrap();
            fs::metadata(folder).unwrap().ino()
        }

        fn owner(&mut self, id: u64) -> Option<String> {
            self.groups.owner(id, &self.portfolio).map(|container| container.name().to_owned())
        }
    }

    #[test]
    fn groups_of_a_container_and_below_it_are_found() {
        let mut host = Host::new();
        let [web, below, other] =
            ["web.slice/web", "web.slice/web/below/it", "other"].map(|path| host.group(path));
        assert_eq!(host.owner(web), None);
        host.start("default/web", 10, "/web.slice/web/init.scope");
        assert_eq!(
            [web, below, other].map(|id| host.owner(id)),
            [Some("default/web".into()), Some("default/web".into()), None]
        );
    }

    #[test]
    fn later_groups_are_found_after_a_refresh() {
        let mut host = Host::new();
        let web = host.group("web");
        host.start("web", 10, "/web");
        assert_eq!(host.owner(web).as_deref(), Some("web"));
        let later = host.group("web/later");
        assert_eq!(host.owner(later), None);
        host.groups.refresh(&host.portfolio.clone());
        assert_eq!(host.owner(later).as_deref(), Some("web"));
    }

    #[test]
    fn a_nested_container_owns_its_groups_whichever_comes_first() {
        for order in [["outer", "inner"], ["inner", "outer"]] {
            let mut host = Host::new();
            let groups = ["docker/outer", "docker/outer/docker/inner"].map(|path| host.group(path));
            for name in order {
                let path = if name == "outer" { "/docker/outer" } else { "/docker/outer/docker/inner" };
                host.start(name, if name == "outer" { 10 } else { 11 }, path);
                host.owner(0);
            }
            assert_eq!(groups.map(|id| host.owner(id).unwrap()), ["outer", "inner"]);
        }
    }

    #[test]
    fn groups_of_former_lives_are_forgotten() {
        let mut host = Host::new();
        let web = host.group("web");
        host.start("web", 10, "/web");
        assert_eq!(host.owner(web).as_deref(), Some("web"));
        host.start("web", 11, "/elsewhere");
        assert_eq!(host.owner(web), None);
        assert!(host.groups.groups.is_empty());
    }

    #[test]
    fn what_is_outside_of_this_namespace_is_not_looked_for() {
        let mut host = Host::new();
        let outside = host.group("../web");
        host.start("web", 10, "/../web");
        assert_eq!(host.owner(outside), None);
    }
}
