//! One look at the host: the usual places, the endpoints that the user named, and the processes. Runs in a thread that may block.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::candidate::{Candidate, Source};
use crate::finding::{Finding, FindingKind};
use crate::gate::Gate;
use crate::options::Options;
#[cfg(target_os = "linux")]
use crate::processes::{Entered, Listener, Processes, ToEnter};
use crate::socket::locate;
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
        let path = candidate.socket.endpoint().strip_prefix("unix://").map(Path::new);
        let Some(located) = path.and_then(|path| locate(path).ok()) else { return Ok(candidate) };
        let paths = [path.unwrap_or(&located.path), &located.path];
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
                if candidate.source == Source::Usual && located.path.ends_with("podman.sock") =>
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
