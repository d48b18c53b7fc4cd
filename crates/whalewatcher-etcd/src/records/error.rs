//! Errors of keys and values that are not what they should be.

use std::error::Error;
use std::fmt;

use whalewatcher_core::Printable;

/// A key or a value that is not what whalewatcher writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    key: String,
    why: String,
}

impl RecordError {
    pub(crate) fn new(key: &str, why: impl Into<String>) -> Self {
        Self { key: key.to_owned(), why: why.into() }
    }

    /// Returns the key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key {} in etcd cannot be used: {}", Printable(&self.key), Printable(&self.why))
    }
}

impl Error for RecordError {}
