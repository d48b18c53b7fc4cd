//! The processes that are named like engines, and the sockets at which they listen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{PROC_SUPER_MAGIC, statfs};
use whalewatcher_host::ListeningSocket;
use whalewatcher_host::process::{Proc, Process};

use crate::candidate::Candidate;
use crate::finding::{Finding, FindingKind};
use crate::options::Options;

/// The most processes whose sockets are looked at.
const MAX_PROCESSES: usize = 1_024;

/// The most sockets of a process that are looked at.
const MAX_SOCKETS: usize = 32;

/// How often the descriptors of a process are read although no socket was added beside it: it may be given
/// one that listens already.
const SELDOM: u32 = 8;

/// The processes that listen for others, and start them.
const MANAGER: &str = "systemd";

/// The processes named like engines, from one look to the next.
#[derive(Debug)]
pub(crate) struct Processes {
    proc: Proc,
    names: HashMap<String, Vec<usize>>,
    known: BTreeMap<u32, Known>,
    managers: Vec<u32>,
    namespaces: Namespaces,
    /// The inodes of the listening sockets of this process' own network namespace, by path.
    here: HashMap<PathBuf, Vec<u64>>,
    /// Whether a manager has a socket open too, by its inode.
    managed: HashMap<u64, bool>,
    hidden: bool,
    too_many: bool,
}

#[derive(Debug)]
struct Known {
    process: Arc<Process>,
    name: String,
    detectors: Vec<usize>,
    sockets: BTreeMap<u64, (PathBuf, Entered)>,
    refused: bool,
    /// The listening sockets of its network namespace when its descriptors were read last.
    beside: Arc<Vec<ListeningSocket>>,
    looks: u32,
}

/// The listening sockets of each network namespace, which are read once in a look.
#[derive(Debug, Default)]
struct Namespaces {
    read: HashMap<String, Arc<Vec<ListeningSocket>>>,
    former: HashMap<String, Arc<Vec<ListeningSocket>>>,
}

/// Whether a socket of a process has been looked up in the process' root.
#[derive(Debug)]
pub(crate) enum Entered {
    No,
    Pending,
    /// It can be connected to.
    Found(Box<Candidate>),
    /// It cannot, for a reason that is worth a finding.
    Refused(FindingKind, String),
    /// There is no socket at that path.
    Nothing,
}

/// A socket that is to be looked up in the root of its process.
#[derive(Debug)]
pub(crate) struct ToEnter {
    pub(crate) pid: u32,
    pub(crate) inode: u64,
    pub(crate) process: Arc<Process>,
    pub(crate) path: PathBuf,
}

/// What listens at a socket in the file system of this process.
#[derive(Debug)]
pub(crate) enum Listener {
    /// An engine, and the service manager too.
    Managed(Arc<Process>),
    /// The service manager alone.
    Manager,
    /// An engine alone, or something that cannot be seen.
    Other { is_seen: bool },
}

impl Processes {
    pub(crate) fn new(options: &Options) -> Self {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        for (nth, detector) in options.detectors.iter().enumerate() {
            for name in detector.processes() {
                names.entry((*name).to_owned()).or_default().push(nth);
            }
        }
        Self {
            proc: Proc::at(&options.proc),
            names,
            known: BTreeMap::new(),
            managers: Vec::new(),
            namespaces: Namespaces::default(),
            here: HashMap::new(),
            managed: HashMap::new(),
            hidden: false,
            too_many: false,
        }
    }

    /// Looks at all processes. Reads `/proc` only.
    pub(crate) fn look(&mut self) {
        let mut left: BTreeSet<u32> = self.known.keys().copied().collect();
        let pids = self.proc.pids().unwrap_or_default();
        self.managers.clear();
        (self.hidden, self.too_many) = (is_partial(&self.proc, &pids), false);
        for pid in pids {
            // The folder that is open is never that of a later process with the same PID.
            let known = self.known.get(&pid).and_then(|known| known.process.name().ok());
            let name = match known.clone().map_or_else(|| self.proc.name(pid), Ok) {
                Ok(name) => name,
                Err(error) => {
                    self.hidden |= error.kind() == io::ErrorKind::PermissionDenied;
                    continue;
                }
            };
            if name == MANAGER {
                self.managers.push(pid);
            }
            if let Some(detectors) = self.names.get(&name) {
                if known.is_some() && self.known.get(&pid).is_some_and(|known| known.name == name) {
                    left.remove(&pid);
                } else if self.known.len() >= MAX_PROCESSES {
                    self.too_many = true;
                } else if let Ok(new) = Known::open(&self.proc, pid, name, detectors.clone()) {
                    left.remove(&pid);
                    self.known.insert(pid, new);
                }
            }
        }
        self.known.retain(|pid, _| !left.contains(pid));
        self.namespaces.former = take(&mut self.namespaces.read);
        for known in self.known.values_mut() {
            known.look(&mut self.namespaces);
        }
        self.here.clear();
        for ListeningSocket { inode, path, .. } in self.proc.listening_here().unwrap_or_default() {
            self.here.entry(path).or_default().push(inode);
        }
        let here: BTreeSet<_> = self.here.values().flatten().collect();
        self.managed.retain(|inode, _| here.contains(inode));
    }

    /// Returns the sockets that are to be looked up, and expects an answer for each.
    pub(crate) fn take_lookups(&mut self) -> Vec<ToEnter> {
        let mut all = Vec::new();
        for (pid, known) in &mut self.known {
            for (inode, (path, entered)) in &mut known.sockets {
                if matches!(entered, Entered::No) {
                    *entered = Entered::Pending;
                    let (process, path) = (known.process.clone(), path.clone());
                    all.push(ToEnter { pid: *pid, inode: *inode, process, path });
                }
            }
        }
        all
    }

    /// Records the answer for a socket.
    pub(crate) fn entered(&mut self, pid: u32, inode: u64, entered: Entered) {
        let known = self.known.get_mut(&pid);
        if let Some(slot) = known.and_then(|known| known.sockets.get_mut(&inode)) {
            slot.1 = entered;
        }
    }

    /// Returns what can be connected to.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let candidates = self.known.values().flat_map(|known| {
            known.sockets.values().filter_map(|(_, entered)| match entered {
                Entered::Found(candidate) => {
                    Some(Candidate { expected: known.detectors.clone(), ..(**candidate).clone() })
                }
                _ => None,
            })
        });
        candidates.collect()
    }

    /// Returns what cannot be connected to, each with the PID if it concerns one process.
    pub(crate) fn findings(&self) -> Vec<(Option<u32>, Finding)> {
        let mut findings = Vec::new();
        if self.hidden {
            let finding = Finding::new("/proc", FindingKind::Hidden, "processes of other users are hidden");
            findings.push((None, finding.with_remedy("run as root to find their engines")));
        }
        if self.too_many {
            let reason = format!("more than {MAX_PROCESSES} processes are named like engines");
            findings.push((None, Finding::new("/proc", FindingKind::TooMany, reason)));
        }
        for (pid, known) in &self.known {
            let place = format!("{} (PID {pid})", known.name);
            if known.refused {
                let reason = "its sockets may not be looked at";
                let finding = Finding::new(&place, FindingKind::NoEntry, reason);
                findings.push((Some(*pid), finding.with_remedy("run as root, or with CAP_SYS_PTRACE")));
            }
            for (path, entered) in known.sockets.values() {
                if let Entered::Refused(kind, reason) = entered {
                    let reason = format!("its socket {} cannot be used: {reason}", path.display());
                    let remedy = match kind {
                        FindingKind::NoEntry => "run as root, or with CAP_SYS_PTRACE",
                        _ => "",
                    };
                    findings.push((Some(*pid), Finding::new(&place, *kind, reason).with_remedy(remedy)));
                }
            }
        }
        findings
    }

    /// Returns what listens at a socket of this process' file system, by the paths that lead to it.
    pub(crate) fn listener(&mut self, paths: &[&Path]) -> Listener {
        let inodes: BTreeSet<_> =
            paths.iter().filter_map(|path| self.here.get(*path)).flatten().copied().collect();
        let mut is_seen = false;
        for inode in inodes {
            let is_managed = *self.managed.entry(inode).or_insert_with(|| {
                let has = |pid: &u32| self.proc.open(*pid).is_ok_and(|one| has_open(&one, inode));
                self.managers.iter().any(has)
            });
            let engine = self.known.values().find(|known| known.sockets.contains_key(&inode));
            match (engine, is_managed) {
                (Some(known), true) => return Listener::Managed(known.process.clone()),
                (None, true) => return Listener::Manager,
                (Some(_), false) => is_seen = true,
                (None, false) => {}
            }
        }
        Listener::Other { is_seen }
    }
}

/// Returns whether processes of other users are left out, as with `hidepid=2`: then the first one is, which
/// always runs.
fn is_partial(proc: &Proc, pids: &[u32]) -> bool {
    !pids.contains(&1) && statfs(proc.root()).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC)
}

fn has_open(process: &Process, inode: u64) -> bool {
    process.open_sockets().is_ok_and(|open| open.contains(&inode))
}

impl Known {
    fn open(proc: &Proc, pid: u32, name: String, detectors: Vec<usize>) -> io::Result<Self> {
        let process = proc.open(pid)?;
        // One that has ended, and only waits for its parent, is none.
        process.origin()?;
        Ok(Self {
            process: Arc::new(process),
            name,
            detectors,
            sockets: BTreeMap::new(),
            refused: false,
            beside: Arc::default(),
            looks: 0,
        })
    }

    /// Looks at its sockets, if there are others beside it than at the last look.
    fn look(&mut self, namespaces: &mut Namespaces) {
        let is_due = self.looks.is_multiple_of(SELDOM);
        self.looks = self.looks.wrapping_add(1);
        let listening = namespaces.listening_beside(&self.process).and_then(|beside| {
            if Arc::ptr_eq(&beside, &self.beside) && !is_due {
                return Ok(None);
            }
            let listening = self.process.listening_among(&beside)?;
            self.beside = beside;
            Ok(Some(listening))
        });
        let mut listening = match listening {
            Ok(Some(listening)) => listening,
            Ok(None) => return,
            Err(error) => {
                self.refused = error.kind() == io::ErrorKind::PermissionDenied;
                if error.kind() == io::ErrorKind::NotFound {
                    // It has ended, and its parent has not noticed yet.
                    self.sockets.clear();
                }
                return;
            }
        };
        self.refused = false;
        // containerd's sockets of that name are not for clients.
        listening.retain(|socket| socket.path.extension() != Some(&OsString::from("ttrpc")));
        listening.truncate(MAX_SOCKETS);
        self.sockets.retain(|inode, _| listening.iter().any(|socket| socket.inode == *inode));
        for socket in listening {
            self.sockets.entry(socket.inode).or_insert((socket.path, Entered::No));
        }
    }
}

impl Namespaces {
    /// Returns the listening sockets of a process' network namespace; the same list as at the last look if it
    /// contains the same.
    fn listening_beside(&mut self, process: &Process) -> io::Result<Arc<Vec<ListeningSocket>>> {
        // What may not be compared is read for each process.
        let Ok(namespace) = process.namespace("net") else { return process.listening_beside().map(Arc::new) };
        if let Some(beside) = self.read.get(&namespace) {
            return Ok(beside.clone());
        }
        let beside = process.listening_beside()?;
        let former = self.former.remove(&namespace).filter(|former| **former == beside);
        let beside = former.unwrap_or_else(|| Arc::new(beside));
        self.read.insert(namespace, beside.clone());
        Ok(beside)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use futures_core::future::BoxFuture;
    use whalewatcher_core::{EngineError, Settings};

    use super::*;
    use crate::detector::{Detected, Detector};
    use crate::socket::Socket;

    struct Dockers;

    impl Detector for Dockers {
        fn processes(&self) -> &[&str] {
            &["dockerd"]
        }

        fn sockets(&self) -> &[&str] {
            &[]
        }

        fn detect<'a>(
            &'a self,
            _: &'a Socket,
            _: &'a Settings,
        ) -> BoxFuture<'a, Result<Detected, EngineError>> {
            unreachable!("nothing is probed here")
        }
    }

    fn host() -> (tempfile::TempDir, Processes) {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::default().without_detectors().with_detector(Dockers);
        let processes = Processes::new(&options.with_proc(folder.path()));
        (folder, processes)
    }

    fn process(proc: &Path, pid: u32, started: u32, sockets: usize) {
        let folder = proc.join(pid.to_string());
        for name in ["fd", "net"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        fs::write(folder.join("comm"), "dockerd\n").unwrap();
        fs::create_dir_all(folder.join("ns")).unwrap();
        let _ = symlink("net:[1]", folder.join("ns/net"));
        fs::write(folder.join("stat"), format!("{pid} (x) S 1 {}{started} 0", "0 ".repeat(17))).unwrap();
        let socket = |nth: usize| format!("0: 00000002 00000000 00010000 0001 01 {nth} /run/{nth}.sock\n");
        fs::write(folder.join("net/unix"), (0..sockets).map(socket).collect::<String>()).unwrap();
        for nth in 0..sockets {
            symlink(format!("socket:[{nth}]"), folder.join(format!("fd/{nth}"))).unwrap();
        }
    }

    #[test]
    fn of_too_many_sockets_and_processes_the_first_are_looked_at() {
        let (folder, mut processes) = host();
        process(folder.path(), 1, 7, MAX_SOCKETS + 8);
        processes.look();
        assert_eq!(processes.take_lookups().len(), MAX_SOCKETS);
        assert!(processes.take_lookups().is_empty(), "each once");
        for pid in 2..=u32::try_from(MAX_PROCESSES + 1).unwrap() {
            process(folder.path(), pid, 7, 0);
        }
        processes.look();
        assert_eq!(processes.known.len(), MAX_PROCESSES);
        let findings = processes.findings();
        assert_eq!(
            findings.iter().map(|(_, finding)| finding.kind).collect::<Vec<_>>(),
            [FindingKind::TooMany]
        );
    }

    #[test]
    fn a_later_process_with_the_same_pid_is_another_one() {
        let (folder, mut processes) = host();
        process(folder.path(), 1, 7, 1);
        processes.look();
        let first = processes.take_lookups().remove(0);
        fs::remove_dir_all(folder.path().join("1")).unwrap();
        process(folder.path(), 1, 8, 1);
        processes.look();
        let second = processes.take_lookups().remove(0);
        assert_eq!((first.pid, first.inode), (second.pid, second.inode));
        assert!(first.process.origin().is_err(), "the first one stays what it was");
        assert_eq!(second.process.origin().unwrap().started, 8);
        fs::remove_dir_all(folder.path().join("1")).unwrap();
        processes.look();
        assert!(processes.known.is_empty());
    }

    #[test]
    fn a_socket_that_is_bound_later_is_found_at_once_and_one_that_was_passed_on_seldom() {
        let (folder, mut processes) = host();
        process(folder.path(), 1, 7, 1);
        for _ in 0..3 * SELDOM + 1 {
            processes.look();
        }
        assert_eq!(processes.take_lookups().len(), 1);
        fs::remove_dir_all(folder.path().join("1/fd")).unwrap();
        process(folder.path(), 1, 7, 2);
        processes.look();
        assert_eq!(processes.take_lookups().len(), 1);
        process(folder.path(), 2, 7, 2);
        fs::remove_dir_all(folder.path().join("2/fd")).unwrap();
        fs::create_dir(folder.path().join("2/fd")).unwrap();
        processes.look();
        assert!(processes.take_lookups().is_empty());
        symlink("socket:[1]", folder.path().join("2/fd/1")).unwrap();
        let looks = (0..).take_while(|_| {
            processes.look();
            processes.take_lookups().is_empty()
        });
        assert!(looks.count() < SELDOM as usize);
    }

    #[test]
    fn the_sockets_of_a_network_namespace_are_read_once_in_a_look() {
        let (folder, mut processes) = host();
        for (pid, namespace) in [(1, "net:[1]"), (2, "net:[1]"), (3, "net:[2]")] {
            process(folder.path(), pid, 7, 3);
            let link = folder.path().join(format!("{pid}/ns/net"));
            fs::remove_file(&link).unwrap();
            symlink(namespace, link).unwrap();
        }
        // Only the first of each namespace has a list.
        fs::remove_file(folder.path().join("2/net/unix")).unwrap();
        processes.look();
        assert_eq!(processes.take_lookups().len(), 9);
    }

    #[test]
    fn a_process_that_ended_and_still_has_its_pid_listens_no_more() {
        let (folder, mut processes) = host();
        process(folder.path(), 1, 7, 1);
        processes.look();
        assert_eq!(processes.known[&1].sockets.len(), 1);
        for gone in ["net", "fd", "ns"] {
            fs::remove_dir_all(folder.path().join("1").join(gone)).unwrap();
        }
        processes.look();
        assert!(processes.known[&1].sockets.is_empty());
    }
}
