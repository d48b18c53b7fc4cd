//! The engine's identity: its ID, names and versions, and the documents that contain them.

use serde_json::{Value, json};

use super::{container::Phase, engine::Engine, flavour::Flavour};

/// An API version, compared number by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion(u32, u32);

impl ApiVersion {
    pub(super) const fn new(major: u32, minor: u32) -> Self {
        Self(major, minor)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// The engine's description of itself.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) id: String,
    /// podman 4 generates a new ID for each `/info`.
    pub(super) new_id_each_time: bool,
    pub(super) version: String,
    pub(super) api: String,
    pub(super) api_min: String,
    pub(super) host: String,
}

impl Identity {
    /// Checks that a version is supported; `Err` has dockerd's message for a client that is too old or too new.
    pub(super) fn admit(&self, client: &str) -> Result<ApiVersion, String> {
        let version = ApiVersion::parse(client);
        let ours = ApiVersion::parse(&self.api);
        let oldest = ApiVersion::parse(&self.api_min);
        match version {
            Some(version) if version < oldest.unwrap_or(version) => Err(format!(
                "client version {client} is too old. Minimum supported API version is {}, please upgrade your client \
                 to a newer version",
                self.api_min
            )),
            Some(version) if version > ours.unwrap_or(version) => Err(format!(
                "client version {client} is too new. Maximum supported API version is {}",
                self.api
            )),
            Some(version) => Ok(version),
            None => Err(format!("client version {client} is not a version")),
        }
    }

    /// The `Server` header.
    pub(super) fn server(&self, flavour: Flavour) -> String {
        match flavour {
            Flavour::Docker => format!("Docker/{} (linux)", self.version),
            Flavour::Podman | Flavour::OldPodman => format!("Libpod/{} (linux)", self.version),
        }
    }

    /// `GET /version`
    pub(super) fn version(&self, flavour: Flavour) -> Value {
        let (platform, component) = match flavour {
            Flavour::Docker => ("Docker Engine - Community", "Engine"),
            Flavour::Podman | Flavour::OldPodman => ("linux/amd64/debian-12", "Podman Engine"),
        };
        json!({
            "Platform": { "Name": platform },
            "Components": [{
                "Name": component,
                "Version": self.version,
                "Details": {
                    "ApiVersion": self.api,
                    "Arch": "amd64",
                    "BuildTime": "2025-11-05T14:43:00.000000000+00:00",
                    "Experimental": "false",
                    "GitCommit": "0000000",
                    "GoVersion": "go1.25.3",
                    "KernelVersion": "6.1.0",
                    "MinAPIVersion": self.api_min,
                    "Os": "linux",
                },
            }],
            "Version": self.version,
            "ApiVersion": self.api,
            "MinAPIVersion": self.api_min,
            "GitCommit": "0000000",
            "GoVersion": "go1.25.3",
            "Os": "linux",
            "Arch": "amd64",
            "KernelVersion": "6.1.0",
            "BuildTime": "2025-11-05T14:43:00.000000000+00:00",
        })
    }

    /// `GET /info`
    pub(super) fn info(&self, engine: &Engine) -> Value {
        let containers = engine.lock().select(|_| true);
        let count = |wanted: &[Phase]| containers.iter().filter(|c| wanted.contains(&c.phase)).count();
        let id = if self.new_id_each_time { new_id(&mut fastrand::Rng::new()) } else { self.id.clone() };
        json!({
            "ID": id,
            "Containers": containers.len(),
            "ContainersRunning": count(&[Phase::Running, Phase::Restarting]),
            "ContainersPaused": count(&[Phase::Paused]),
            "ContainersStopped": count(&[Phase::Created, Phase::Exited]),
            "Images": 1,
            "Driver": "overlay2",
            "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
            "Plugins": { "Volume": ["local"], "Network": ["bridge", "host", "null"], "Authorization": null, "Log": ["json-file"] },
            "MemoryLimit": true,
            "PidsLimit": true,
            "Debug": false,
            "SystemTime": engine.clock.now().to_string(),
            "LoggingDriver": "json-file",
            "CgroupDriver": "systemd",
            "CgroupVersion": "2",
            "NEventsListener": engine.lock().listeners(),
            "KernelVersion": "6.1.0",
            "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
            "OSVersion": "12",
            "OSType": "linux",
            "Architecture": "x86_64",
            "IndexServerAddress": "https://index.docker.io/v1/",
            "NCPU": 2,
            "MemTotal": 25_769_803_776_i64,
            "DockerRootDir": "/var/lib/docker",
            "Name": self.host,
            "Labels": [],
            "ExperimentalBuild": false,
            "ServerVersion": self.version,
            "DefaultRuntime": "runc",
            "LiveRestoreEnabled": false,
            "InitBinary": "docker-init",
            "SecurityOptions": ["name=seccomp,profile=builtin"],
            "Warnings": null,
        })
    }
}

/// Returns an engine ID in Docker's current form.
pub(super) fn new_id(random: &mut fastrand::Rng) -> String {
    let mut group = |digits: usize| (0..digits).map(|_| random.digit(16)).collect::<String>();
    [8, 4, 4, 4, 12].map(&mut group).join("-")
}
