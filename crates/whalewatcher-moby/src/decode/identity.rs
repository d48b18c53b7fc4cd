//! What an engine answers about itself: `/version` and `/info`.

use serde::Deserialize;

use crate::decode::version::ApiVersion;

/// The engine's variant of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Docker,
    /// podman with the API that is compatible with Docker's, from which it differs in places.
    Podman,
    /// podman with its own API: the same requests below another path, and a list with more in it.
    Libpod,
}

impl Dialect {
    pub(crate) fn is_podman(self) -> bool {
        self != Self::Docker
    }
}

/// The answer to `/version`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Version {
    #[serde(default)]
    pub(crate) version: Option<String>,
    #[serde(default)]
    api_version: Option<String>,
    #[serde(rename = "MinAPIVersion", default)]
    min_api_version: Option<String>,
}

impl Version {
    /// The newest API version that the engine speaks, if the answer has it.
    pub(crate) fn newest(&self) -> Option<ApiVersion> {
        self.api_version.as_deref().and_then(ApiVersion::parse)
    }

    /// The oldest API version that the engine speaks, if the answer has it.
    pub(crate) fn oldest(&self) -> Option<ApiVersion> {
        self.min_api_version.as_deref().and_then(ApiVersion::parse)
    }
}

/// The answer to `/info`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Info {
    #[serde(rename = "ID", default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    docker_root_dir: Option<String>,
    #[serde(default)]
    pub(crate) server_version: Option<String>,
    #[serde(default)]
    pub(crate) system_time: Option<String>,
}

impl Info {
    /// Takes the engine's ID, empty if the answer has none.
    ///
    /// podman generates a new ID for each answer (seen on 4.3.1). The host's name with the folder where containers are
    /// kept stays the same, and distinguishes the engines of a host's users.
    pub(crate) fn id(&mut self, dialect: Dialect) -> String {
        if !dialect.is_podman() {
            return self.id.take().unwrap_or_default();
        }
        match (self.name.take(), self.docker_root_dir.take()) {
            (None, None) => String::new(),
            (name, folder) => format!("{}:{}", name.unwrap_or_default(), folder.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently() {
        let versions = |json: &str| {
            let version = serde_json::from_str::<Version>(json).unwrap();
            (version.newest(), version.oldest())
        };
        let both = r#"{"ApiVersion":"1.51","MinAPIVersion":"1.44","Components":null}"#;
        assert_eq!(versions(both), (ApiVersion::parse("1.51"), ApiVersion::parse("1.44")));
        for none in [r#"{"MinAPIVersion":null,"ApiVersion":null}"#, r#"{"MinAPIVersion":"old"}"#, "{}"] {
            assert_eq!(versions(none), (None, None));
        }
    }

    #[test]
    fn podmans_id_stays_the_same() {
        let json = r#"{"ID":"made-up","Name":"host","DockerRootDir":"/var/lib/containers/storage"}"#;
        let info = || serde_json::from_str::<Info>(json).unwrap();
        assert_eq!(info().id(Dialect::Podman), "host:/var/lib/containers/storage");
        assert_eq!(info().id(Dialect::Docker), "made-up");
        assert_eq!(
            (Info::default().id(Dialect::Podman), Info::default().id(Dialect::Docker)),
            (String::new(), String::new())
        );
    }
}
