//! The ID of a container.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::escape::Printable;

/// Identifies a container to its engine. At any one time it is unique within that engine.
///
/// An ID can be used again: by a restart of the same container or, on some engines, by another container. One run of
/// a container is a [`Life`](crate::Life). Clones share the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// The greatest length of a [plain](Self::is_plain) ID, in bytes. IDs of Docker and CRI have 64.
    pub const MAX: usize = 256;

    /// Returns the ID as the engine writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a text is short and harmless in paths and on terminals, as the IDs that engines make
    /// up are: ASCII letters, digits, `-`, `_` and `.`, beginning with a letter or a digit.
    #[must_use]
    pub fn is_plain(text: &str) -> bool {
        let punctuation = |byte: &u8| matches!(byte, b'-' | b'_' | b'.');
        text.len() <= Self::MAX
            && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || punctuation(&byte))
    }
}

impl Deref for ContainerId {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ContainerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<T: Into<Arc<str>>> From<T> for ContainerId {
    fn from(id: T) -> Self {
        Self(id.into())
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printable(&self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_is_short_and_plain() {
        for id in ["a", "0123456789abcdef", "k8s_pod-1.2", &"f".repeat(ContainerId::MAX)] {
            assert!(ContainerId::is_plain(id), "{id}");
        }
        let too_long = "f".repeat(ContainerId::MAX + 1);
        for other in
            ["", ".", "..", "-a", "a/b", "a b", "a\n", "\u{1b}[2J", "ü", "a\u{fffd}", too_long.as_str()]
        {
            assert!(!ContainerId::is_plain(other), "{other:?}");
        }
    }
}
