//! One look at the host: the usual places, the endpoints that the user named, and the processes. Runs in a
//! thread that may block.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::candidate::{Candidate, Source};
use crate::finding::{Finding, FindingKind};
use crate::gate::Gate;
use crate::options::Options;
#[cfg(target_os = "linux")]
use crate::processes::{Entered, Listener, Processes, ToEnter};
use crate::usual;

/// What is kept from one look to the next.
#[derive(Debug)]
pub(crate) struct Looker {
    options: Options,
    #[cfg(target_os = "linux")]
    processes: Processes,
    /// By endpoint.
    gates: HashMap<String, Gate>,
}

/// What a look has found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) candidates: Vec<Candidate>,
    /// With the PID of the process if it concerns one.
    pub(crate) findings: Vec<(Option<u32>, Finding)>,
    #[cfg(target_os = "linux")]
    pub(crate) to_enter: Vec<ToEnter>,
}

impl Looker {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            #[cfg(target_os = "linux")]
            processes: Processes::new(options),
            gates: HashMap::new(),
        }
    }

    /// Returns the paths at which sockets may appear.
    pub(crate) fn paths(options: &Options) -> Vec<PathBuf> {
        let named = options.named.iter().map(|endpoint| endpoint.strip_prefix("unix://").unwrap_or(endpoint));
        let named = named.filter(|path| path.starts_with('/')).map(PathBuf::from);
        let mut paths: Vec<_> =
            usual::paths(options).into_iter().map(|(path, _)| path).chain(named).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    pub(crate) fn look(&mut self) -> Looked {
        #[cfg(target_os = "linux")]
        self.processes.look();
        let mut looked = Looked::default();
        looked.findings.extend(self.options.unusable.clone().map(|finding| (None, finding)));
        let mut all = usual::named(&self.options);
        all.extend(usual::candidates(&self.options));
        for candidate in all {
            match self.pass(candidate) {
                Ok(candidate) => looked.candidates.push(candidate),
                Err(finding) => looked.findings.push((None, finding)),
            }
        }
        #[cfg(target_os = "linux")]
        {
            looked.to_enter = self.processes.take_lookups();
            for candidate in self.processes.candidates() {
                match self.pass(candidate) {
                    Ok(candidate) => looked.candidates.push(candidate),
                    Err(finding) => looked.findings.push((None, finding)),
                }
            }
            looked.findings.extend(self.processes.findings());
        }
        looked
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn entered(&mut self, answers: Vec<(u32, u64, Entered)>) {
        for (pid, inode, entered) in answers {
            self.processes.entered(pid, inode, entered);
        }
    }

    /// Lets a candidate pass unless connecting to it would start an engine.
    fn pass(&mut self, candidate: Candidate) -> Result<Candidate, Finding> {
        // What listens within a container, the service manager of this host does not start.
        let Some(real) = &candidate.path else { return Ok(candidate) };
        let named = candidate.socket.endpoint().strip_prefix("unix://").map(Path::new);
        let paths = [named.unwrap_or(real), real];
        let gate = self.gates.entry(candidate.socket.endpoint().to_owned()).or_default();
        if self.options.activate {
            gate.open();
            return Ok(candidate);
        }
        #[cfg(target_os = "linux")]
        match self.processes.listener(&paths) {
            Listener::Managed(process) => gate.open_while(process),
            Listener::Manager => gate.close(),
            // Not every process can be seen, and an idle podman is the rule, not the exception.
            Listener::Other { is_seen: false }
                if candidate.source == Source::Usual && real.ends_with("podman.sock") =>
            {
                gate.close();
            }
            Listener::Other { .. } => gate.open(),
        }
        #[cfg(not(target_os = "linux"))]
        let _ = paths;
        if gate.is_open() {
            let socket = candidate.socket.gated(gate.clone());
            return Ok(Candidate { socket, ..candidate });
        }
        let reason = "no engine runs there, and connecting would start one";
        let finding = Finding::new(candidate.socket.endpoint(), FindingKind::NotStarted, reason);
        Err(finding.with_remedy("start it, or allow activation (--activate)"))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::socket::{Place, Socket, locate};

    #[test]
    fn only_in_the_own_file_system_does_the_service_manager_start_engines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("docker.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let proc = folder.path().join("proc");
        fs::create_dir_all(proc.join("1/fd")).unwrap();
        fs::create_dir_all(proc.join("net")).unwrap();
        fs::write(proc.join("1/comm"), "systemd\n").unwrap();
        symlink("socket:[5]", proc.join("1/fd/3")).unwrap();
        let line = format!("0: 00000002 00000000 00010000 0001 01 5 {}\n", path.display());
        fs::write(proc.join("net/unix"), line).unwrap();
        let mut looker = Looker::new(&Options::default().without_detectors().with_proc(&proc));
        looker.look();
        let socket = || Socket::at(&path).unwrap();
        let own = Candidate::own(socket(), locate(&path).unwrap(), Source::Process);
        assert_eq!(looker.pass(own).unwrap_err().kind, FindingKind::NotStarted);
        // What listens in a container has a path that may be there on the host, too.
        let within = Candidate::new(socket(), Place::Url(socket().endpoint().to_owned()), Source::Process);
        assert!(looker.pass(within).is_ok());
    }
}
