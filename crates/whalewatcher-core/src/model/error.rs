//! Why an engine could not be asked, or what it said could not be understood.

use std::error::Error;
use std::fmt;

/// An error of an engine or of the way to it: says what is wrong and, where that is known, what to do.
#[derive(Debug)]
pub struct EngineError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What went wrong, coarsely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The endpoint is written wrongly or cannot be used by this build.
    Configuration,
    /// There is nothing at the endpoint: no socket file, nobody listening, no route.
    Unreachable,
    /// The operating system or the engine refuses access.
    PermissionDenied,
    /// Somebody answers, but not an engine of this kind.
    NotThisEngine,
    /// The engine speaks only versions of its API that are older than any this client knows.
    TooOld,
    /// The engine speaks only versions of its API that are newer than any this client knows.
    TooNew,
    /// No answer within the time limit.
    TimedOut,
    /// The connection, or the event stream, ended.
    Disconnected,
    /// An answer that is malformed or truncated.
    Malformed,
    /// The engine understood and answered that it could not do it.
    Failed,
}

impl EngineError {
    /// An error of this kind with a message in one line, without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same with the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong, coarsely.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether trying again can help without anybody changing something first: engines come back, wrong
    /// endpoints do not become right.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use ErrorKind::{Configuration, NotThisEngine, PermissionDenied, TooNew, TooOld};
        !matches!(self.kind, Configuration | NotThisEngine | PermissionDenied | TooNew | TooOld)
    }
}

/// Returns whether an error means that the engine did not answer.
pub(crate) fn is_silence(error: &EngineError) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Disconnected | ErrorKind::Unreachable)
}

/// Errors are equal that say the same, whatever caused them.
impl PartialEq for EngineError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.message == other.message
    }
}

impl Eq for EngineError {}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
