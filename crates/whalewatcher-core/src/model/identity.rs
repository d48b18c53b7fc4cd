//! The identity of an engine.

/// The identity of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct EngineIdentity {
    /// The type of engine: `docker.com`, `podman.io`, `containerd.io`, `k8s.io/cri-api`.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub engine_type: String,
    /// The engine's ID, stable across restarts.
    pub id: String,
    /// The engine's version, as it reports it.
    pub version: String,
    /// The endpoint, such as `unix:///run/docker.sock`.
    #[cfg_attr(feature = "serde", serde(rename = "api"))]
    pub endpoint: String,
    /// The PID of the engine's process, where it is known.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub pid: Option<u32>,
    /// The host that the engine is on, where it is one of several that publish theirs.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub host: Option<Host>,
}

/// A host whose engines are published to others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Host {
    /// The ID that distinguishes it from all others.
    pub id: String,
    /// Its name, which others may have too.
    pub name: String,
}

impl Host {
    /// Creates a host.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into() }
    }
}

impl EngineIdentity {
    /// Creates an identity of which only type and endpoint are known.
    pub fn new(engine_type: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self {
            engine_type: engine_type.into(),
            id: String::new(),
            version: String::new(),
            endpoint: endpoint.into(),
            pid: None,
            host: None,
        }
    }
}
