//! The kind of engine: Docker or podman.

/// The kind of engine. podman differs in its actions and in its timing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flavour {
    /// dockerd.
    #[default]
    Docker,
    /// podman, with Docker's API and its own: exits are `die` (`died` in its own API) and `cleanup`, removal
    /// is `remove`, `restart` comes before `die`, and the headers of an event stream are sent only with the
    /// first event.
    Podman,
    /// podman before 4.3: as [`Podman`](Self::Podman), but exits are `died` in both APIs (before 4.4), and
    /// their events have no labels.
    OldPodman,
}

impl Flavour {
    pub(super) fn is_podman(self) -> bool {
        self != Self::Docker
    }

    /// The action of an exit.
    pub(super) fn end(self) -> &'static str {
        match self {
            Self::Docker | Self::Podman => "die",
            Self::OldPodman => "died",
        }
    }
}
