//! Which engine it is.

/// Who an engine is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EngineIdentity {
    /// What kind of engine: `docker.com`, `podman.io`, `containerd.io`, `k8s.io/cri-api`.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub engine_type: String,
    /// Which engine, stable across its restarts.
    pub id: String,
    /// The engine's version, as it tells it.
    pub version: String,
    /// Where it is reached.
    #[cfg_attr(feature = "serde", serde(rename = "api"))]
    pub endpoint: String,
    /// The PID of the engine's process, where it is known.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub pid: Option<u32>,
}

impl EngineIdentity {
    /// An engine of this type, reached there, of which nothing else is known yet.
    pub fn new(engine_type: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self {
            engine_type: engine_type.into(),
            id: String::new(),
            version: String::new(),
            endpoint: endpoint.into(),
            pid: None,
        }
    }
}
