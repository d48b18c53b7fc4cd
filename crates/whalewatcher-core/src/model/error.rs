//! Errors of an engine or of the connection to it.

use std::error::Error;
use std::fmt;

/// An error of an engine or of the connection to it. Its message says what failed and, where that is known, what to do.
///
/// ```
/// use whalewatcher_core::{EngineError, ErrorKind};
///
/// let error = EngineError::new(ErrorKind::Unreachable, "no such socket: unix:///x; is the engine running?");
/// assert!(error.is_transient());
/// ```
#[derive(Debug)]
pub struct EngineError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kind of an [`EngineError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The endpoint is malformed or not supported by this build.
    Configuration,
    /// Nothing listens at the endpoint: no socket file, connection refused, no route.
    Unreachable,
    /// The operating system or the engine denied access.
    PermissionDenied,
    /// The server at the endpoint is not an engine of this kind.
    NotThisEngine,
    /// The engine supports only API versions that are older than those of this client.
    TooOld,
    /// The engine supports only API versions that are newer than those of this client.
    TooNew,
    /// No answer within the time limit.
    TimedOut,
    /// The connection, or the event stream, ended.
    Disconnected,
    /// An answer or event is malformed or truncated.
    Malformed,
    /// The engine answered with an error.
    Failed,
}

impl EngineError {
    /// Creates an error. The message is one line without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Sets the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind of error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether another attempt can succeed without a change of configuration: an engine may come back, a wrong
    /// endpoint stays wrong.
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

/// Compares kind and message, not the cause.
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
