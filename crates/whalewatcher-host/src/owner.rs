//! Which container a process belongs to.
//!
//! A name on the path of a process' control group contains the ID of its container. A name alone proves
//! nothing: conmon, which belongs to no container, runs in `libpod-conmon-ID.scope`, and other software may
//! choose such names too. So the container's initial process has to be in the same group. That also excludes
//! a process that has the PID after the initial one has ended.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use whalewatcher_core::{Container, Portfolio};

use crate::cgroup::{Membership, ids, is_within, names};
use crate::process::{Proc, has_ended};

/// The container that a process belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The container.
    pub container: &'a Arc<Container>,
    /// Which of the given portfolios contains it, from 0.
    pub portfolio: usize,
}

/// Returns the container that the process with this PID belongs to, `None` if it belongs to none of these portfolios.
///
/// Of nested containers that are all known it is the innermost one. If several portfolios contain the
/// container, it is that of the first one.
///
/// The answer is about the process that has the PID during the call, and is never a container that the
/// process is not in, also where PIDs are reused. It can be `None` shortly after a container has started, and
/// while it ends.
///
/// ```no_run
/// # fn example(watcher: &dyn whalewatcher_core::Watcher) -> std::io::Result<()> {
/// let portfolio = watcher.portfolio();
/// if let Some(owner) = whalewatcher_host::owner_of(4711, [&portfolio])? {
///     println!("{}", owner.container);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// [`NotFound`](io::ErrorKind::NotFound) if there is no such process, or if `/proc` is mounted with
/// `hidepid=2` and hides it. Other kinds if the process, or the initial process of the container that it may
/// belong to, cannot be read, such as [`PermissionDenied`](io::ErrorKind::PermissionDenied) with `hidepid=1`.
pub fn owner_of<'a>(
    pid: u32,
    portfolios: impl IntoIterator<Item = &'a Portfolio>,
) -> io::Result<Option<Owner<'a>>> {
    find(&Proc::default(), pid, portfolios)
}

/// Returns the container that a process belongs to, as [`owner_of`] does, by the processes in another folder
/// than `/proc`.
///
/// # Errors
///
/// As of [`owner_of`].
pub fn owner_in<'a>(
    proc: &Proc,
    pid: u32,
    portfolios: impl IntoIterator<Item = &'a Portfolio>,
) -> io::Result<Option<Owner<'a>>> {
    find(proc, pid, portfolios)
}

/// Returns the container that a process belongs to, as [`owner_of`] does, by a file descriptor of the process.
///
/// # Errors
///
/// As of [`owner_of`]; [`NotFound`](io::ErrorKind::NotFound) also if the process has ended, and
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if the descriptor is not that of a process.
pub fn owner_of_pidfd<'a>(
    pidfd: BorrowedFd<'_>,
    portfolios: impl IntoIterator<Item = &'a Portfolio>,
) -> io::Result<Option<Owner<'a>>> {
    let proc = Proc::default();
    let pid = pid_of(&proc, pidfd)?;
    let owner = find(&proc, pid, portfolios)?;
    // It has not ended, so no other process had its PID.
    match has_ended(pidfd)? {
        false => Ok(owner),
        true => Err(io::ErrorKind::NotFound.into()),
    }
}

fn find<'a>(
    proc: &Proc,
    pid: u32,
    portfolios: impl IntoIterator<Item = &'a Portfolio>,
) -> io::Result<Option<Owner<'a>>> {
    let groups = proc.open(pid)?.memberships()?;
    let portfolios: Vec<&Portfolio> = portfolios.into_iter().collect();
    let mut unknown = None;
    for (nth, group) in groups.iter().enumerate() {
        // With version 1 the path is usually the same in all hierarchies.
        if groups[..nth].iter().any(|former| former.path == group.path) {
            continue;
        }
        for (name, upto) in names(&group.path) {
            for (portfolio, known) in portfolios.iter().enumerate() {
                for container in ids(name).flat_map(|id| known.all_by_unscoped_id(id)) {
                    match is_in(proc, container, group, upto) {
                        Ok(true) => return Ok(Some(Owner { container, portfolio })),
                        Ok(false) => {}
                        Err(error) => unknown = Some(error),
                    }
                }
            }
        }
    }
    unknown.map_or(Ok(None), Err)
}

/// Returns whether the container's initial process is in the control group that the path leads to.
fn is_in(proc: &Proc, container: &Container, group: &Membership, upto: &str) -> io::Result<bool> {
    let is_same = |of: &Membership| of.hierarchy == group.hierarchy && is_within(&of.path, upto);
    match proc.open(container.host_pid().unwrap_or(container.pid())).and_then(|initial| initial.memberships())
    {
        Ok(groups) => Ok(groups.iter().any(is_same)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn pid_of(proc: &Proc, pidfd: BorrowedFd<'_>) -> io::Result<u32> {
    let path = proc.root().join("self/fdinfo").join(pidfd.as_raw_fd().to_string());
    let mut text = String::new();
    std::fs::File::open(path)?.read_to_string(&mut text)?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    match pid.map(|pid| pid.trim().parse::<i64>()) {
        Some(Ok(pid)) if pid > 0 => u32::try_from(pid).map_err(io::Error::other),
        // Ended, or in no PID namespace below ours.
        Some(Ok(_)) => Err(io::ErrorKind::NotFound.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is not that of a process")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::process::{Child, Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use whalewatcher_core::EventKind;

    use super::*;

    /// A made-up `/proc`.
    struct Host {
        folder: tempfile::TempDir,
        portfolio: Portfolio,
    }

    impl Host {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), portfolio: Portfolio::default() }
        }

        fn process(&self, pid: u32, cgroup: &str) -> &Self {
            let folder = self.folder.path().join(pid.to_string());
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("cgroup"), cgroup).unwrap();
            self
        }

        fn container(mut self, id: &str, name: &str, pid: u32) -> Self {
            self.portfolio.apply(&EventKind::Started(Container::new(id, name, pid).into()));
            self
        }

        fn owner(&self, pid: u32) -> Option<String> {
            let empty = Portfolio::default();
            let owner = find(&Proc::at(self.folder.path()), pid, [&empty, &self.portfolio]).unwrap();
            owner.map(|owner| {
                assert_eq!(owner.portfolio, 1);
                owner.container.name().to_owned()
            })
        }
    }

    #[test]
    fn initial_processes_descendants_and_execs_are_found_with_either_driver() {
        for group in [
            "/docker/abc",
            "/system.slice/docker-abc.scope",
            "/kubepods.slice/pod1.slice/cri-containerd-abc.scope",
        ] {
            let host = Host::new().container("abc", "web", 10);
            host.process(10, &format!("0::{group}\n"));
            host.process(11, &format!("0::{group}/child\n"));
            host.process(12, "0::/user.slice\n");
            assert_eq!(
                [10, 11, 12].map(|pid| host.owner(pid)),
                [Some("web".into()), Some("web".into()), None]
            );
        }
    }

    #[test]
    fn an_initial_process_may_be_in_a_group_below_its_containers() {
        let host = Host::new().container("abc", "systemd", 10);
        host.process(10, "0::/docker-abc.scope/init.scope\n");
        host.process(11, "0::/docker-abc.scope/system.slice/nginx.service\n");
        assert_eq!(host.owner(11).as_deref(), Some("systemd"));
    }

    #[test]
    fn with_version_1_any_hierarchy_may_name_the_container() {
        let host = Host::new().container("abc", "web", 10);
        for pid in [10, 11] {
            host.process(pid, "3:cpu:/\n2:pids:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n");
        }
        assert_eq!(host.owner(11).as_deref(), Some("web"));
    }

    #[test]
    fn of_nested_containers_it_is_the_innermost_one_that_is_known() {
        let host = Host::new().container("outer", "outer", 10).container("inner", "inner", 11);
        host.process(10, "0::/docker/outer\n");
        host.process(11, "0::/docker/outer/docker/inner\n");
        host.process(12, "0::/docker/outer/docker/stranger\n");
        assert_eq!(host.owner(11).as_deref(), Some("inner"));
        assert_eq!(host.owner(12).as_deref(), Some("outer"));
    }

    #[test]
    fn a_group_that_is_only_named_like_the_containers_is_another_ones() {
        let host = Host::new().container("abc", "web", 10);
        host.process(10, "0::/libpod-abc.scope/container\n");
        host.process(11, "0::/libpod-conmon-abc.scope\n");
        host.process(12, "0::/user.slice/libpod-abc.scope\n");
        host.process(13, "5:pids:/libpod-abc.scope\n");
        assert_eq!([11, 12, 13].map(|pid| host.owner(pid)), [None, None, None]);
    }

    #[test]
    fn a_pid_that_another_process_has_by_now_makes_no_owner() {
        let host = Host::new().container("abc", "web", 10);
        host.process(10, "0::/user.slice\n").process(11, "0::/docker/abc\n");
        assert_eq!([10, 11].map(|pid| host.owner(pid)), [None, None]);
    }

    #[test]
    fn an_initial_process_that_cannot_be_read_is_an_error_and_not_no_owner() {
        let host = Host::new().container("abc", "web", 10);
        host.process(11, "0::/docker/abc\n");
        fs::create_dir_all(host.folder.path().join("10/cgroup")).unwrap();
        let error = find(&Proc::at(host.folder.path()), 11, [&host.portfolio]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn ids_of_containerd_are_found_in_their_namespaces() {
        let host = Host::new()
            .container("one/web", "one", 10)
            .container("two/web", "two", 11)
            .container("web", "bare", 12);
        host.process(10, "0::/one/web\n").process(11, "0::/two/web\n").process(12, "0::/default/web\n");
        assert_eq!([10, 11, 12].map(|pid| host.owner(pid).unwrap()), ["one", "two", "bare"]);
    }

    /// A process that does nothing until it is dropped.
    struct Idle(Child);

    impl Idle {
        fn new() -> Self {
            Self(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
        }

        fn pidfd(&self) -> std::os::fd::OwnedFd {
            let pid = Pid::from_child(&self.0);
            pidfd_open(pid, PidfdFlags::empty()).unwrap()
        }

        fn end(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    impl Drop for Idle {
        fn drop(&mut self) {
            self.end();
        }
    }

    #[test]
    fn real_processes_outside_of_containers_have_no_owner_and_ended_ones_are_not_found() {
        let mut idle = Idle::new();
        let (pid, pidfd) = (idle.0.id(), idle.pidfd());
        let mut portfolio = Portfolio::default();
        portfolio.apply(&EventKind::Started(Container::new("abc", "web", pid).into()));
        assert!(owner_of(pid, [&portfolio]).unwrap().is_none());
        assert!(owner_of_pidfd(pidfd.as_fd(), [&portfolio]).unwrap().is_none());
        idle.end();
        for error in [
            owner_of(pid, [&portfolio]).unwrap_err(),
            owner_of_pidfd(pidfd.as_fd(), [&portfolio]).unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
        let file = tempfile::tempfile().unwrap();
        let error = owner_of_pidfd(file.as_fd(), [&portfolio]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_open_process_is_not_the_next_one_with_its_pid() {
        let mut idle = Idle::new();
        let process = Proc::default().open(idle.0.id()).unwrap();
        process.memberships().unwrap();
        idle.end();
        assert_eq!(process.memberships().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
