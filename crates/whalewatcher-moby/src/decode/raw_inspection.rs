//! The input of packers of rucksacks.

use std::any::Any;
use std::sync::Arc;

use serde::Deserialize;
use whalewatcher_core::{ContainerId, EngineError};

use crate::decode::json;

/// Packs what an application keeps of an inspection.
pub(crate) type Packer = Arc<dyn Fn(RawInspection<'_>) -> Option<Arc<dyn Any + Send + Sync>> + Send + Sync>;

/// The engine's answer to the inspection of a container that is alive, for packers of rucksacks: the JSON that
/// `docker inspect` shows. It may have any shape beyond what the watcher itself needs.
#[derive(Clone, Copy, Debug)]
pub struct RawInspection<'a> {
    id: &'a ContainerId,
    text: &'a str,
}

impl<'a> RawInspection<'a> {
    pub(crate) fn new(id: &'a ContainerId, text: &'a str) -> Self {
        Self { id, text }
    }

    /// Returns the container's ID.
    #[must_use]
    pub fn id(&self) -> &'a ContainerId {
        self.id
    }

    /// Returns the JSON text, with invalid UTF-8 replaced.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Decodes the parts that `T` has, which may borrow from the text. Engines omit fields or send `null`
    /// where a value is not known, so most fields are best an `Option`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Malformed`](whalewatcher_core::ErrorKind::Malformed) if the JSON does not have the shape
    /// that `T` requires.
    pub fn decode<T: Deserialize<'a>>(&self) -> Result<T, EngineError> {
        json::parse("inspection", self.text)
    }
}
