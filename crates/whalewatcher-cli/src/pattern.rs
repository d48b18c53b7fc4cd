//! Names of containers as users write them.

use whalewatcher_core::Container;

/// A name, an ID, or the beginning of an ID.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(String);

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }

    /// Returns the pattern as it was given.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Returns whether a container has such a name or ID.
pub(crate) fn is_named(container: &Container, name: &Pattern) -> bool {
    container.name() == name.text() || container.id().as_str() == name.text()
}
