//! Systems without pidfds.

use std::io;
use std::sync::Arc;

use whalewatcher_core::{Container, EngineIdentity, Witness, WitnessedLife};

/// Watches nothing: this system has no pidfds.
#[derive(Debug, Default)]
pub struct Kernel;

impl Kernel {
    /// Creates a witness that watches nothing.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Witness for Kernel {
    fn observe(&self, _: &Container, _: Option<&EngineIdentity>) -> Option<Arc<dyn WitnessedLife>> {
        None
    }
}

/// Does nothing.
///
/// # Errors
///
/// None.
pub fn raise_descriptor_limit() -> io::Result<()> {
    Ok(())
}
