//! The image of a container.

use std::sync::Arc;

use super::shared;

/// The image that a container was created from.
///
/// ```
/// use whalewatcher_core::Image;
///
/// let image = Image::new("nginx:1.27").with_id("sha256:c0ffee");
/// assert_eq!((image.name(), image.id()), ("nginx:1.27", Some("sha256:c0ffee")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Image {
    name: Arc<str>,
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    id: Option<Arc<str>>,
}

impl Image {
    /// Creates an image of which only the name is known.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self { name: shared::text(name.as_ref()), id: None }
    }

    /// Sets the ID or digest.
    #[must_use]
    pub fn with_id(mut self, id: impl AsRef<str>) -> Self {
        self.id = Some(id.as_ref()).filter(|id| !id.is_empty()).map(shared::text);
        self
    }

    /// Returns the name as it was given when the container was created, such as `nginx:1.27` or
    /// `docker.io/library/nginx@sha256:…`; where the engine reports no name, the ID.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the ID or digest, such as `sha256:…`, where the engine reports it. What it identifies depends
    /// on the engine: Docker's is the ID of the image's configuration or manifest.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}
