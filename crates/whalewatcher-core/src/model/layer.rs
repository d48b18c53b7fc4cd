//! Which engines run their containers in which.

/// The layer of an engine: engines of higher layers run their containers in those of lower ones.
///
/// Several engines of a host may know a container: Docker runs it in containerd, under the same ID. A
/// [`Fleet`](crate::Fleet) shows it once, by the engine of the highest layer, which knows most about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// Runs containers for other engines too: containerd.
    Runtime,
    /// Runs containers for people and programs: Docker, podman.
    #[default]
    Engine,
    /// Runs containers for Kubernetes: CRI.
    Kubernetes,
}
