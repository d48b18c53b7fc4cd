//! What knows of the ends of lives besides the engine.

use std::fmt;
use std::sync::Arc;

use futures_core::future::BoxFuture;

use crate::model::{Container, EngineIdentity};

/// Knows by itself when lives end, such as from the kernel that runs them.
///
/// A watch asks it for each life of its portfolio. It does so also while the engine cannot be reached, so
/// ends become known then too. [`Settings::with_witness`](crate::Settings::with_witness) sets it; the crate
/// `whalewatcher-kernel` has one for Linux.
///
/// What it says is believed against the engine, so it must be certain: a life of which it cannot prove that
/// it is the container's is none that it watches.
pub trait Witness: fmt::Debug + Send + Sync {
    /// Begins to watch the life of a container, which `engine` reported to be alive. `None` if it cannot, or
    /// if that life may have ended already. Must not wait for anything.
    fn observe(&self, life: &Container, engine: Option<&EngineIdentity>) -> Option<Arc<dyn WitnessedLife>>;
}

/// A life that a [`Witness`] watches. Dropping it ends that.
pub trait WitnessedLife: Send + Sync {
    /// Waits until the life has ended.
    fn ended(self: Arc<Self>) -> BoxFuture<'static, ()>;

    /// Returns whether the life certainly goes on at this moment. Must not wait for anything.
    fn goes_on(&self) -> bool;
}
