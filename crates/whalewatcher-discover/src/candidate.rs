//! Sockets at which an engine may answer.

use std::path::PathBuf;
use std::sync::Arc;

#[cfg(target_os = "linux")]
use whalewatcher_host::process::Process;

use crate::socket::{FileId, Located, Place, Socket};

/// A socket, or another endpoint, at which an engine may answer.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) socket: Socket,
    pub(crate) place: Place,
    /// `None` if there is no socket at the endpoint, or if it is none.
    pub(crate) file: Option<FileId>,
    /// Its path without symbolic links, if it is in the file system of this process.
    pub(crate) path: Option<PathBuf>,
    /// The detectors to ask first.
    pub(crate) expected: Vec<usize>,
    pub(crate) source: Source,
    /// The PID of the engine's process, where it is known.
    #[cfg(target_os = "linux")]
    pub(crate) pid: Option<u32>,
    /// The first process that sees the same files as the engine, if not all do: the engine does not return
    /// after that one.
    #[cfg(target_os = "linux")]
    pub(crate) container: Option<Arc<Process>>,
}

/// Why a socket is a candidate, the reason whose name for it is preferred first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The user named it.
    Named,
    /// Sockets of engines usually are there.
    Usual,
    /// A process named like an engine listens there.
    Process,
}

impl Candidate {
    /// What is or may be at an endpoint.
    pub(crate) fn new(socket: Socket, place: Place, source: Source) -> Self {
        Self {
            socket,
            place,
            file: None,
            path: None,
            source,
            expected: Vec::new(),
            #[cfg(target_os = "linux")]
            pid: None,
            #[cfg(target_os = "linux")]
            container: None,
        }
    }

    /// A socket in the file system of this process.
    pub(crate) fn own(socket: Socket, found: Located, source: Source) -> Self {
        let Located { place, file, path } = found;
        Self { file: Some(file), path: Some(path), ..Self::new(socket, place, source) }
    }

    /// Returns whether both lead to the same socket, or to the same place for one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.file.is_some() && self.file == other.file
            || self.place == other.place
            || self.socket.endpoint() == other.socket.endpoint()
    }

    /// Adds what is known of the same socket by another name.
    fn add(&mut self, other: Self) {
        for detector in other.expected {
            if !self.expected.contains(&detector) {
                self.expected.push(detector);
            }
        }
        #[cfg(target_os = "linux")]
        if self.pid.is_none() && other.pid.is_some() {
            (self.pid, self.container) = (other.pid, other.container);
            self.socket.location().follow(other.socket.location());
        }
    }

    /// Returns whether the engine certainly does not return.
    pub(crate) fn is_over(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.container.as_ref().is_some_and(|container| container.origin().is_err());
        #[cfg(not(target_os = "linux"))]
        false
    }
}

/// Returns the candidates, each socket once, by the preferred name; in the order of these.
pub(crate) fn merged(mut all: Vec<Candidate>) -> Vec<Candidate> {
    all.sort_by_key(|candidate| candidate.source);
    let mut merged: Vec<Candidate> = Vec::new();
    for candidate in all {
        match merged.iter_mut().find(|known| known.is_same(&candidate)) {
            Some(known) => known.add(candidate),
            None => merged.push(candidate),
        }
    }
    merged
}
