//! Processes of the host, read from `/proc`, and ending them without ever hitting another that got the same PID:
//! a process is first pinned by a descriptor, then looked at, then signalled through that descriptor.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use procfs::process::{Process, all_processes};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cgroups;

/// The programs that an engine consists of. Only these can be ours by their command line: other programs may
/// be reading our log file.
const ENGINE_PROGRAMS: [&str; 12] = [
    "dockerd",
    "containerd",
    "containerd-shim",
    "containerd-shim-runc-v1",
    "containerd-shim-runc-v2",
    "runc",
    "docker-proxy",
    "docker-init",
    "ctr",
    "podman",
    "conmon",
    "etcd",
];

/// One process, pinned: its PID cannot come to mean another one.
#[derive(Debug)]
pub(crate) struct Pinned {
    descriptor: OwnedFd,
}

impl Pinned {
    /// Pins a process. `None` when there is none with this PID.
    pub(crate) fn new(pid: u32) -> Result<Option<Pinned>> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => Ok(Some(Pinned { descriptor })),
            Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot pin process {pid:?}")),
        }
    }

    /// Sends a signal; it is fine if the process has ended.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        match pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send {signal:?}")),
        }
    }

    /// Waits until the process has ended, and returns whether it did in time.
    pub(crate) fn ended_within(&self, limit: Duration) -> Result<bool> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).context("a time limit is too long")?;
            let mut descriptors = [PollFd::new(&self.descriptor, PollFlags::IN)];
            match poll(&mut descriptors, Some(&left)) {
                Ok(count) => return Ok(count > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for a process"),
            }
        }
    }
}

/// Waits where there is nothing that could be awaited.
pub(crate) fn pause(length: Duration) -> Result<()> {
    let length = Timespec::try_from(length).context("a pause is too long")?;
    match poll(&mut [], Some(&length)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("cannot wait"),
    }
}

/// How the processes of one private instance are distinguished from all others.
#[derive(Clone, Debug)]
pub(crate) struct Ownership {
    /// Named in the command lines of the instance's daemons and shims.
    pub(crate) folder: PathBuf,
    /// The cgroup that its containers are in.
    pub(crate) cgroup: String,
}

impl Ownership {
    fn includes(&self, command_line: &[String], cgroups: &[String]) -> bool {
        let mut parts = cgroups.iter().flat_map(|path| path.split('/'));
        is_engine_of(command_line, &self.folder) || parts.any(|part| part == self.cgroup)
    }

    /// The PIDs of the processes that are alive and belong to the instance.
    pub(crate) fn processes(&self) -> Result<BTreeSet<u32>> {
        let own = std::process::id();
        let all = all_processes().context("cannot read /proc")?.flatten();
        let pids = all.filter_map(|process| self.owns(&process).then(|| process.pid.unsigned_abs()));
        Ok(pids.filter(|pid| *pid != own).collect())
    }

    fn owns(&self, process: &Process) -> bool {
        let is_alive = process.stat().is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'));
        let cgroups = || process.cgroups().map(|groups| groups.0).unwrap_or_default();
        let groups = || cgroups().into_iter().map(|group| group.pathname).collect::<Vec<_>>();
        is_alive && process.cmdline().is_ok_and(|command_line| self.includes(&command_line, &groups()))
    }

    /// Ends them all with SIGKILL, again and again until there is none: one may just be starting, or pausing,
    /// another.
    pub(crate) fn kill_all(&self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            cgroups::thaw(&self.cgroup)?;
            let pids = self.processes()?;
            if pids.is_empty() {
                return Ok(());
            }
            let mut pinned = Vec::new();
            for pid in pids {
                // Pinned first and looked at again, so that a PID in new hands is left alone.
                let owns = |_: &Pinned| process_of(pid).is_some_and(|process| self.owns(&process));
                if let Some(process) = Pinned::new(pid)?.filter(owns) {
                    process.signal(Signal::KILL)?;
                    pinned.push(process);
                }
            }
            for process in pinned {
                process.ended_within(Duration::from_secs(1))?;
            }
            if Instant::now() > deadline {
                bail!("processes of {} do not end: {:?}", self.folder.display(), self.processes()?);
            }
        }
    }
}

/// Kills whatever this process has started and is still there, again and again until there is none: what runs on in
/// this process may be starting another.
pub(crate) fn kill_children(limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    let own = std::process::id();
    let is_own = |process: &Process| {
        let stat = process.stat();
        stat.is_ok_and(|stat| stat.ppid.unsigned_abs() == own && !matches!(stat.state, 'Z' | 'X'))
    };
    loop {
        let all = all_processes().context("cannot read /proc")?.flatten();
        let pids: Vec<_> = all.filter(is_own).map(|process| process.pid.unsigned_abs()).collect();
        if pids.is_empty() {
            return Ok(());
        }
        for pid in &pids {
            let is_ours = |_: &Pinned| process_of(*pid).is_some_and(|process| is_own(&process));
            if let Some(child) = Pinned::new(*pid)?.filter(is_ours) {
                child.signal(Signal::KILL)?;
                child.ended_within(Duration::from_secs(1))?;
            }
        }
        if Instant::now() > deadline {
            bail!("these processes do not end: {pids:?}");
        }
    }
}

fn process_of(pid: u32) -> Option<Process> {
    Process::new(pid.try_into().ok()?).ok()
}

fn is_engine_of(command_line: &[String], folder: &Path) -> bool {
    let Some((program, arguments)) = command_line.split_first() else { return false };
    let program = program.rsplit('/').next().unwrap_or_default();
    let below = format!("{}/", folder.display());
    ENGINE_PROGRAMS.contains(&program) && arguments.iter().any(|argument| argument.contains(&below))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn ownership() -> Ownership {
        Ownership { folder: PathBuf::from("/tmp/w/docker-1-1"), cgroup: "whalewatcher-docker-1-1".to_owned() }
    }

    fn includes(command_line: &str, cgroup: &str) -> bool {
        let words: Vec<String> = command_line.split(' ').map(str::to_owned).collect();
        ownership().includes(&words, &[cgroup.to_owned()])
    }

    #[test]
    fn a_shim_is_ours_when_its_containerd_is() {
        let shim = "/c/containerd-shim-runc-v2 -namespace moby -address";
        assert!(includes(&format!("{shim} /tmp/w/docker-1-1/containerd.sock"), ""));
        assert!(!includes(
            &format!("{shim} /run/containerd/containerd.sock"),
            "/system.slice/docker.service"
        ));
    }

    #[test]
    fn an_instance_with_a_longer_name_is_another() {
        assert!(!includes("/c/dockerd --pidfile /tmp/w/docker-1-10/pid", "/whalewatcher-docker-1-10/abc"));
    }

    #[test]
    fn a_reader_of_our_log_is_not_ours() {
        assert!(!includes("tail -f /tmp/w/docker-1-1/dockerd.log", "/user.slice"));
    }

    #[test]
    fn whatever_runs_in_the_cgroup_of_our_containers_is_ours() {
        assert!(includes("sleep 1", "/whalewatcher-docker-1-1/abc"));
    }

    #[test]
    fn a_pinned_process_is_signalled_and_awaited() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let pinned = Pinned::new(child.id()).unwrap().unwrap();
        assert!(!pinned.ended_within(Duration::ZERO).unwrap());
        pinned.signal(Signal::KILL).unwrap();
        assert!(pinned.ended_within(Duration::from_secs(10)).unwrap());
        child.wait().unwrap();
        assert!(Pinned::new(child.id()).unwrap().is_none());
    }
}
