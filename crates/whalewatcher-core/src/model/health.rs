//! The health of a container that has a healthcheck.

use std::fmt;

/// The newest result of a container's healthcheck.
///
/// ```
/// use whalewatcher_core::Health;
///
/// assert_eq!(Health::Unhealthy.to_string(), "unhealthy");
/// assert_eq!(Health::of("starting"), Some(Health::Starting));
/// assert_eq!(Health::of("none"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
#[non_exhaustive]
pub enum Health {
    /// No probe has succeeded yet, and none has counted as a failure.
    Starting,
    /// The last probe succeeded.
    Healthy,
    /// As many probes in a row as the healthcheck allows have failed.
    Unhealthy,
}

impl Health {
    /// Returns the health that Docker and podman spell like this; `None` for `none` and everything else.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        [Self::Starting, Self::Healthy, Self::Unhealthy].into_iter().find(|health| health.as_str() == text)
    }

    /// Returns `starting`, `healthy` or `unhealthy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
