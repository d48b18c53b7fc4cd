//! What must hold on containerd: what must hold on every engine.

use anyhow::Result;

use super::fixture::{ContainerdFixture, Watched};
use crate::comparison;

/// Checks everything, once the engine is quiet and no fault is active.
pub(super) async fn check(fixture: &ContainerdFixture, watched: &Watched) -> Result<()> {
    comparison::check(fixture, watched).await.map(drop)
}
