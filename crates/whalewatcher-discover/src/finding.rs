//! What was seen and is not watched.

use std::fmt;

use whalewatcher_core::Printable;

/// An engine, or what may be one, that was seen and is not watched: where, why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Finding {
    /// Where it was seen: an endpoint, or a process, as in `dockerd (PID 4711)`.
    pub place: String,
    /// The kind of reason.
    pub kind: FindingKind,
    /// Why it is not watched.
    pub reason: String,
    /// What to do about it; empty where nothing is known to help.
    pub remedy: String,
}

/// Why an engine is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// This process may not connect to the socket.
    NoPermission,
    /// This process may not look at the sockets of the engine's process, or enter its root.
    NoEntry,
    /// Processes of other users are hidden from this process.
    Hidden,
    /// The engine does not run, and connecting to its socket would start it.
    NotStarted,
    /// Something listens, but nothing that answers as an engine that can be watched.
    NoEngine,
    /// The engine does not answer in time, or looking for its socket takes too long.
    Unresponsive,
    /// There are more processes or sockets than are looked at.
    TooMany,
}

impl Finding {
    pub(crate) fn new(place: impl Into<String>, kind: FindingKind, reason: impl Into<String>) -> Self {
        Self { place: place.into(), kind, reason: reason.into(), remedy: String::new() }
    }

    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

/// One line, with control characters escaped.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Printable(&self.place), Printable(&self.reason))?;
        match self.remedy.as_str() {
            "" => Ok(()),
            remedy => write!(f, "; {}", Printable(remedy)),
        }
    }
}
