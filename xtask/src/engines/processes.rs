//! Processes of the host, read from `/proc`, and ending them without ever hitting another that got the same PID:
//! a process is first pinned by a descriptor, then looked at, then signalled through that descriptor.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cgroups;

/// The programs that an engine consists of. Only these can be ours by their command line: other programs may be reading our
/// log file.
const ENGINE_PROGRAMS: [&str; 11] = [
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
    fn includes(&self, command_line: &[u8], cgroups: &str) -> bool {
        is_engine_of(command_line, &self.folder) || is_in_cgroup(cgroups, &self.cgroup)
    }

    /// The PIDs of the processes that are alive and belong to the instance.
    pub(crate) fn processes(&self) -> Result<BTreeSet<u32>> {
        let own = std::process::id();
        let mut pids = BTreeSet::new();
        for entry in fs::read_dir("/proc").context("cannot read /proc")? {
            let Ok(entry) = entry else { continue };
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            if let Some(pid) = pid.filter(|pid| *pid != own && self.owns(*pid)) {
                pids.insert(pid);
            }
        }
        Ok(pids)
    }

    fn owns(&self, pid: u32) -> bool {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let (Ok(command_line), Ok(cgroups)) =
            (fs::read(folder.join("cmdline")), fs::read_to_string(folder.join("cgroup")))
        else {
            return false;
        };
        !is_zombie(&folder) && self.includes(&command_line, &cgroups)
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
                if let Some(process) = Pinned::new(pid)?.filter(|_| self.owns(pid)) {
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

/// When a process was started, in clock ticks since the boot: with its PID, this names it for good.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    start_time_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn start_time_in(stat: &str) -> Option<u64> {
    // The program's name is in parentheses and may hold anything, also parentheses; field 22 is the 20th after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn is_zombie(folder: &Path) -> bool {
    let stat = fs::read_to_string(folder.join("stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_none_or(|(_, rest)| matches!(rest.trim_start().chars().next(), Some('Z' | 'X') | None))
}

fn is_engine_of(command_line: &[u8], folder: &Path) -> bool {
    let mut arguments = command_line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let program = arguments.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    let below = format!("{}/", folder.display());
    ENGINE_PROGRAMS.contains(&program) && arguments.any(|argument| argument.contains(&below))
}

fn is_in_cgroup(cgroups: &str, name: &str) -> bool {
    let paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.flat_map(|path| path.split('/')).any(|part| part == name)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn ownership() -> Ownership {
        Ownership { folder: PathBuf::from("/tmp/w/docker-1-1"), cgroup: "whalewatcher-docker-1-1".to_owned() }
    }

    #[test]
    fn a_shim_is_ours_when_its_containerd_is() {
        let ours =
            b"/c/containerd-shim-runc-v2\0-namespace\0moby\0-address\0/tmp/w/docker-1-1/containerd.sock\0";
        assert!(ownership().includes(ours, ""));
        let hosts = b"/usr/bin/containerd-shim-runc-v2\0-address\0/run/containerd/containerd.sock\0";
        assert!(!ownership().includes(hosts, "0::/system.slice/docker.service\n"));
    }

    #[test]
    fn an_instance_with_a_longer_name_is_another() {
        let other = b"/c/dockerd\0--pidfile\0/tmp/w/docker-1-10/pid\0";
        assert!(!ownership().includes(other, "4:memory:/whalewatcher-docker-1-10/abc\n"));
    }

    #[test]
    fn a_reader_of_our_log_is_not_ours() {
        assert!(!ownership().includes(b"tail\0-f\0/tmp/w/docker-1-1/dockerd.log\0", "0::/user.slice\n"));
    }

    #[test]
    fn whatever_runs_in_the_cgroup_of_our_containers_is_ours() {
        let cgroups = "9:name=systemd:/\n4:memory:/whalewatcher-docker-1-1/abc\n0::/\n";
        assert!(ownership().includes(b"sleep\x001\0", cgroups));
    }

    #[test]
    fn the_start_time_is_found_after_a_name_with_parentheses() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 999 0";
        assert_eq!(start_time_in(stat), Some(12345));
        assert!(start_time(std::process::id()).is_some());
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
