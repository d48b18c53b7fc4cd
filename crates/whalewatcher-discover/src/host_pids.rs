//! The PIDs that processes of an engine's PID namespace have on this host.

use std::collections::HashMap;
use std::sync::Arc;

use whalewatcher_host::process::{Proc, Process};

/// How many ancestors of a process are looked at.
const MAX_ANCESTORS: usize = 64;

/// Finds the PIDs on this host of processes in a PID namespace below its own.
#[derive(Debug)]
pub(crate) struct HostPids {
    proc: Proc,
    namespace: String,
    /// How far it is below that of the host.
    depth: usize,
}

impl HostPids {
    /// Returns `None` if the process is in the PID namespace of the host, or if that is unknown.
    pub(crate) fn of(proc: &Proc, engine: &Arc<Process>) -> Option<Self> {
        let depth = engine.pids().ok()?.len().checked_sub(1)?;
        let namespace = engine.namespace("pid").ok()?;
        (depth > 0).then(|| Self { proc: proc.clone(), namespace, depth })
    }

    /// Returns the PIDs on this host by those in the namespace. Reads all processes.
    pub(crate) fn find(&self, wanted: &[u32]) -> HashMap<u32, u32> {
        let found = self.proc.pids().unwrap_or_default().into_iter().filter_map(|pid| {
            let process = self.proc.open(pid).ok()?;
            let inner = *process.pids().ok()?.get(self.depth)?;
            // Other namespaces have processes with that PID too.
            (wanted.contains(&inner) && self.contains(process)).then_some((inner, pid))
        });
        found.collect()
    }

    /// Returns whether a process is in the namespace, or in one below it: then one of its ancestors is in it.
    fn contains(&self, mut process: Process) -> bool {
        for _ in 0..MAX_ANCESTORS {
            match process.pids().map(|pids| pids.len().checked_sub(1)) {
                Ok(Some(depth)) if depth == self.depth => {
                    return process.namespace("pid").is_ok_and(|namespace| namespace == self.namespace);
                }
                Ok(Some(depth)) if depth > self.depth => {}
                _ => return false,
            }
            let parent = process.origin().and_then(|origin| self.proc.open(origin.parent));
            match parent {
                Ok(parent) => process = parent,
                Err(_) => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn process(proc: &Path, pid: u32, parent: u32, pids: &str, namespace: &str) {
        let folder = proc.join(pid.to_string());
        fs::create_dir_all(folder.join("ns")).unwrap();
        fs::write(folder.join("status"), format!("NSpid:\t{pid} {pids}\n")).unwrap();
        fs::write(folder.join("stat"), format!("{pid} (x) S {parent} {}7 0", "0 ".repeat(17))).unwrap();
        symlink(namespace, folder.join("ns/pid")).unwrap();
    }

    #[test]
    fn processes_of_containers_in_the_namespace_are_found_and_those_of_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path();
        process(proc, 1, 0, "", "pid:[1]");
        process(proc, 100, 1, "1", "pid:[2]"); // the outer container's initial process
        process(proc, 101, 100, "7", "pid:[2]"); // the engine
        process(proc, 102, 100, "8", "pid:[2]"); // a shim
        process(proc, 103, 102, "9 1", "pid:[3]"); // a container of the engine
        process(proc, 200, 1, "1", "pid:[4]"); // another outer container
        process(proc, 201, 200, "9", "pid:[4]");
        process(proc, 202, 200, "9 1", "pid:[5]");
        let proc = Proc::at(proc);
        let engine = Arc::new(proc.open(101).unwrap());
        let pids = HostPids::of(&proc, &engine).unwrap();
        assert_eq!(pids.find(&[8, 9, 10]), HashMap::from([(8, 102), (9, 103)]));
        let host = Arc::new(proc.open(1).unwrap());
        assert!(HostPids::of(&proc, &host).is_none());
    }
}
